// SPDX-License-Identifier: Apache-2.0
#include "collector/store/flatten.h"
#include "collector/store/store_state.h"

namespace gatehouse::store {

Status RowFeed::add(const v1::Row& row, const RowOrigin& origin, Sink& sink) {
  writer_.add(row, origin);
  ++sink.rows;
  return writer_.is_full() ? writer_.append_to(sink.appender) : Status{};
}

Status RowFeed::add(const ledger::Record& record, Sink& sink) {
  const Flattener::Origin origin = BatchReader::origin_of(record);
  RowOrigin at{record.position.segment, record.position.record, origin.first_sequence};
  if (!reader_.read(record)) {
    ++sink.unreadable;
    return add(unreadable_row(origin, record.header.event_count, record.header.received_ns, reader_.fault()), at, sink);
  }
  const Flattener flattener(reader_.batch(), origin);
  for (size_t i = 0; i < flattener.row_count(); ++i) {
    flattener.flatten(i, row_);
    at.sequence = origin.first_sequence + i;
    GH_TRY(add(row_, at, sink));
  }
  return {};
}

Status RowFeed::add_damage(const ledger::Position& position, std::string_view damage, Sink& sink) {
  v1::Row row;
  row.set_id("ledger/" + std::to_string(position.segment) + "/" + std::to_string(position.record));
  row.set_kind("gap");
  row.set_outcome("unknown");
  row.set_fidelity("opaque");
  row.set_detail("unreadable-ledger " + std::string(damage));
  return add(row, {position.segment, position.record, 0}, sink);
}

Status RowFeed::finish(Sink& sink) {
  return writer_.append_to(sink.appender);
}

}  // namespace gatehouse::store
