// `ERL_MAX_PORTS=N mongooseim memory`: the twin of the page's
//   env ERL_MAX_PORTS=N erl -noinput -eval 'io:format("~p~n",[erlang:memory(system)]).' -s erlang
//   halt
// What a node takes before its first connection, in bytes: the tables that ERL_MAX_PORTS sizes are
// made, and the process is looked at. A ring's table is bounded by the limit of open files; beyond
// `makeable` slots the rest is extended from what those took.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

namespace server {

std::expected<uint64_t, std::string> MeasureNodeMemory(uint32_t max_ports,
                                                       uint32_t makeable);

}  // namespace server
