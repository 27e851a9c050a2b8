// SPDX-License-Identifier: Apache-2.0
// The checksums of cards, accounts and people, over digits as numbers 0 to 9.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace gatehouse::mask {

using Digits = std::span<const uint8_t>;

bool luhn(Digits digits);
bool verhoeff(Digits digits);
// Weighted sum of digits and weights.
unsigned weighted(Digits digits, std::span<const uint8_t> weights);

// A payment card: issuer's range, its length, Luhn.
bool is_card(Digits digits);
// Capital letters and digits without blanks: country, its length, mod 97.
bool is_iban(std::string_view text);
// The length of the country's IBANs; 0: it has none.
size_t iban_length(char first, char second);
// Area, group and serial of a US social security number, as they are given out.
bool is_ssn(Digits nine);
// A number of the ITIN kind: 9xx with a group of 50 to 65, 70 to 88, 90 to 92, 94 to 99.
bool is_itin(Digits nine);

// Day, month and two-digit year in this order, or year first.
bool is_date(unsigned day, unsigned month, unsigned year);

// Numbers of people and taxpayers of one length, without separators. `count` digits; what each has is said there.
bool is_cpf(Digits eleven);            // Brazil
bool is_cnpj(Digits fourteen);         // Brazil
bool is_steuer_id(Digits eleven);      // Germany
bool is_nir(Digits fifteen);           // France
bool is_bsn(Digits nine);              // Netherlands
bool is_pesel(Digits eleven);          // Poland
bool is_belgian(Digits eleven);        // Belgium
bool is_personnummer(Digits ten);      // Sweden
bool is_fodselsnummer(Digits eleven);  // Norway
bool is_chinese(Digits seventeen, char check);
bool is_rrn(Digits thirteen);  // Korea
bool is_south_african(Digits thirteen);
bool is_cuit(Digits eleven);        // Argentina
bool is_tckn(Digits eleven);        // Turkey
bool is_tfn(Digits nine);           // Australia
bool is_nif_pt(Digits nine);        // Portugal
bool is_ahv(Digits thirteen);       // Switzerland
bool is_aadhaar(Digits twelve);     // India
bool is_my_number(Digits twelve);   // Japan
bool is_inn(Digits ten_or_twelve);  // Russia

bool is_dni(Digits eight, char letter);            // Spain; for NIE the first digit is X, Y or Z as 0, 1, 2
bool is_hetu(Digits nine, char check);             // Finland: date and serial
bool is_rut(Digits seven_or_eight, char check);    // Chile
bool is_codice_fiscale(std::string_view sixteen);  // Italy
bool is_curp(std::string_view eighteen);           // Mexico
bool is_nino(std::string_view nine);               // United Kingdom: format and prefixes, it has no checksum
bool is_indian_pan(std::string_view ten);          // India: format and kind of holder
bool is_german_vat(Digits nine);

}  // namespace gatehouse::mask
