// SPDX-License-Identifier: Apache-2.0
// By OID, as pg_type has them since PostgreSQL 14; none of these numbers is ever reused.
#include "agent/mask/types.h"

#include <algorithm>
#include <iterator>

namespace gatehouse::mask {
namespace {

constexpr BuiltIn kBuiltIn[] = {
    {16, Kind::kBool},                // bool
    {17, Kind::kBytea},               // bytea
    {18, Kind::kOneChar},             // char
    {19, Kind::kText},                // name
    {20, Kind::kInt8},                // int8
    {21, Kind::kInt2},                // int2
    {22, Kind::kVector, 21},          // int2vector
    {23, Kind::kInt4},                // int4
    {24, Kind::kReg},                 // regproc
    {25, Kind::kText},                // text
    {26, Kind::kUnsigned4},           // oid
    {27, Kind::kTid},                 // tid
    {28, Kind::kUnsigned4},           // xid
    {29, Kind::kUnsigned4},           // cid
    {30, Kind::kVector, 26},          // oidvector
    {114, Kind::kJson},               // json
    {142, Kind::kXml},                // xml
    {143, Kind::kArray, 142},         // xml[]
    {194, Kind::kText},               // pg_node_tree
    {199, Kind::kArray, 114},         // json[]
    {271, Kind::kArray, 5069},        // xid8[]
    {600, Kind::kPoint},              // point
    {601, Kind::kLseg},               // lseg
    {602, Kind::kPath},               // path
    {603, Kind::kBox},                // box
    {604, Kind::kPolygon},            // polygon
    {628, Kind::kLine},               // line
    {629, Kind::kArray, 628},         // line[]
    {650, Kind::kCidr},               // cidr
    {651, Kind::kArray, 650},         // cidr[]
    {700, Kind::kFloat4},             // float4
    {701, Kind::kFloat8},             // float8
    {705, Kind::kText},               // unknown
    {718, Kind::kCircle},             // circle
    {719, Kind::kArray, 718},         // circle[]
    {774, Kind::kMacaddr8},           // macaddr8
    {775, Kind::kArray, 774},         // macaddr8[]
    {790, Kind::kMoney},              // money
    {791, Kind::kArray, 790},         // money[]
    {829, Kind::kMacaddr},            // macaddr
    {869, Kind::kInet},               // inet
    {1000, Kind::kArray, 16},         // bool[]
    {1001, Kind::kArray, 17},         // bytea[]
    {1002, Kind::kArray, 18},         // char[]
    {1003, Kind::kArray, 19},         // name[]
    {1005, Kind::kArray, 21},         // int2[]
    {1006, Kind::kArray, 22},         // int2vector[]
    {1007, Kind::kArray, 23},         // int4[]
    {1008, Kind::kArray, 24},         // regproc[]
    {1009, Kind::kArray, 25},         // text[]
    {1010, Kind::kArray, 27},         // tid[]
    {1011, Kind::kArray, 28},         // xid[]
    {1012, Kind::kArray, 29},         // cid[]
    {1013, Kind::kArray, 30},         // oidvector[]
    {1014, Kind::kArray, 1042},       // bpchar[]
    {1015, Kind::kArray, 1043},       // varchar[]
    {1016, Kind::kArray, 20},         // int8[]
    {1017, Kind::kArray, 600},        // point[]
    {1018, Kind::kArray, 601},        // lseg[]
    {1019, Kind::kArray, 602},        // path[]
    {1020, Kind::kArray, 603},        // box[]
    {1021, Kind::kArray, 700},        // float4[]
    {1022, Kind::kArray, 701},        // float8[]
    {1027, Kind::kArray, 604},        // polygon[]
    {1028, Kind::kArray, 26},         // oid[]
    {1033, Kind::kText},              // aclitem
    {1034, Kind::kArray, 1033},       // aclitem[]
    {1040, Kind::kArray, 829},        // macaddr[]
    {1041, Kind::kArray, 869},        // inet[]
    {1042, Kind::kBpchar},            // bpchar
    {1043, Kind::kText},              // varchar
    {1082, Kind::kDate},              // date
    {1083, Kind::kTime},              // time
    {1114, Kind::kTimestamp},         // timestamp
    {1115, Kind::kArray, 1114},       // timestamp[]
    {1182, Kind::kArray, 1082},       // date[]
    {1183, Kind::kArray, 1083},       // time[]
    {1184, Kind::kTimestampTz},       // timestamptz
    {1185, Kind::kArray, 1184},       // timestamptz[]
    {1186, Kind::kInterval},          // interval
    {1187, Kind::kArray, 1186},       // interval[]
    {1231, Kind::kArray, 1700},       // numeric[]
    {1263, Kind::kArray, 2275},       // cstring[]
    {1266, Kind::kTimeTz},            // timetz
    {1270, Kind::kArray, 1266},       // timetz[]
    {1560, Kind::kBit},               // bit
    {1561, Kind::kArray, 1560},       // bit[]
    {1562, Kind::kVarbit},            // varbit
    {1563, Kind::kArray, 1562},       // varbit[]
    {1700, Kind::kNumeric},           // numeric
    {1790, Kind::kText},              // refcursor
    {2201, Kind::kArray, 1790},       // refcursor[]
    {2202, Kind::kReg},               // regprocedure
    {2203, Kind::kReg},               // regoper
    {2204, Kind::kReg},               // regoperator
    {2205, Kind::kReg},               // regclass
    {2206, Kind::kReg},               // regtype
    {2207, Kind::kArray, 2202},       // regprocedure[]
    {2208, Kind::kArray, 2203},       // regoper[]
    {2209, Kind::kArray, 2204},       // regoperator[]
    {2210, Kind::kArray, 2205},       // regclass[]
    {2211, Kind::kArray, 2206},       // regtype[]
    {2249, Kind::kRecord},            // record
    {2275, Kind::kText},              // cstring
    {2278, Kind::kVoid},              // void
    {2287, Kind::kArray, 2249},       // record[]
    {2949, Kind::kArray, 2970},       // txid_snapshot[]
    {2950, Kind::kUuid},              // uuid
    {2951, Kind::kArray, 2950},       // uuid[]
    {2970, Kind::kSnapshot},          // txid_snapshot
    {3220, Kind::kLsn},               // pg_lsn
    {3221, Kind::kArray, 3220},       // pg_lsn[]
    {3361, Kind::kText},              // pg_ndistinct
    {3402, Kind::kText},              // pg_dependencies
    {3614, Kind::kTsvector},          // tsvector
    {3615, Kind::kTsquery},           // tsquery
    {3642, Kind::kText},              // gtsvector
    {3643, Kind::kArray, 3614},       // tsvector[]
    {3644, Kind::kArray, 3642},       // gtsvector[]
    {3645, Kind::kArray, 3615},       // tsquery[]
    {3734, Kind::kReg},               // regconfig
    {3735, Kind::kArray, 3734},       // regconfig[]
    {3769, Kind::kReg},               // regdictionary
    {3770, Kind::kArray, 3769},       // regdictionary[]
    {3802, Kind::kJsonb},             // jsonb
    {3807, Kind::kArray, 3802},       // jsonb[]
    {3904, Kind::kRange, 23},         // int4range
    {3905, Kind::kArray, 3904},       // int4range[]
    {3906, Kind::kRange, 1700},       // numrange
    {3907, Kind::kArray, 3906},       // numrange[]
    {3908, Kind::kRange, 1114},       // tsrange
    {3909, Kind::kArray, 3908},       // tsrange[]
    {3910, Kind::kRange, 1184},       // tstzrange
    {3911, Kind::kArray, 3910},       // tstzrange[]
    {3912, Kind::kRange, 1082},       // daterange
    {3913, Kind::kArray, 3912},       // daterange[]
    {3926, Kind::kRange, 20},         // int8range
    {3927, Kind::kArray, 3926},       // int8range[]
    {4072, Kind::kJsonPath},          // jsonpath
    {4073, Kind::kArray, 4072},       // jsonpath[]
    {4089, Kind::kReg},               // regnamespace
    {4090, Kind::kArray, 4089},       // regnamespace[]
    {4096, Kind::kReg},               // regrole
    {4097, Kind::kArray, 4096},       // regrole[]
    {4191, Kind::kReg},               // regcollation
    {4192, Kind::kArray, 4191},       // regcollation[]
    {4451, Kind::kMultirange, 3904},  // int4multirange
    {4532, Kind::kMultirange, 3906},  // nummultirange
    {4533, Kind::kMultirange, 3908},  // tsmultirange
    {4534, Kind::kMultirange, 3910},  // tstzmultirange
    {4535, Kind::kMultirange, 3912},  // datemultirange
    {4536, Kind::kMultirange, 3926},  // int8multirange
    {4600, Kind::kText},              // pg_brin_bloom_summary
    {4601, Kind::kText},              // pg_brin_minmax_multi_summary
    {5017, Kind::kText},              // pg_mcv_list
    {5038, Kind::kSnapshot},          // pg_snapshot
    {5039, Kind::kArray, 5038},       // pg_snapshot[]
    {5069, Kind::kUnsigned8},         // xid8
    {6150, Kind::kArray, 4451},       // int4multirange[]
    {6151, Kind::kArray, 4532},       // nummultirange[]
    {6152, Kind::kArray, 4533},       // tsmultirange[]
    {6153, Kind::kArray, 4534},       // tstzmultirange[]
    {6155, Kind::kArray, 4535},       // datemultirange[]
    {6157, Kind::kArray, 4536},       // int8multirange[]
};
static_assert(std::ranges::is_sorted(kBuiltIn, {}, &BuiltIn::oid));

}  // namespace

const BuiltIn* built_in(uint32_t oid) {
  const auto* found = std::ranges::lower_bound(kBuiltIn, oid, {}, &BuiltIn::oid);
  return found != std::end(kBuiltIn) && found->oid == oid ? found : nullptr;
}

}  // namespace gatehouse::mask
