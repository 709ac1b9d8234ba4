// Every bound of the cluster's core, by name. What is above a bound is refused with words, never
// cut in silence.
#pragma once

#include <cstddef>
#include <cstdint>

namespace server {

inline constexpr size_t kNodeNameMax = 255;  // bytes, as an atom of Erlang
// Joined nodes of one cluster. One more join is refused. The sight matrix holds a row in a word.
inline constexpr size_t kMembersMax = 64;
// Entries of a view, the removed ones included (they are kept so that a removed node finds out). A
// join beyond it is refused; twice as many are read, since joins at two places may meet.
inline constexpr size_t kEntriesMax = 1024;
inline constexpr size_t kEntriesReadMax = 2 * kEntriesMax;
inline constexpr size_t kLineageMax = 256;  // identities that a cluster grew together from

inline constexpr size_t kFrameBytesMax = size_t{1} << 20;
inline constexpr size_t kMessageBytesMax = kFrameBytesMax - 1024;  // one message of a channel
inline constexpr size_t kReasonMax = 1024;                         // bytes of a refusal's text

inline constexpr size_t kTablesMax = 16;
inline constexpr size_t kKeyBytesMax = 4 * 1024;
inline constexpr size_t kValueBytesMax = 16 * 1024;
// A frame of records: small enough that nobody waits for one, large enough that a frame's price is
// shared by hundreds of records.
inline constexpr size_t kBatchBytesMax = 64 * 1024;
inline constexpr uint32_t kSyncWindow = 4;        // chunks under way to one node
inline constexpr size_t kSyncBucketsMax = 4096;   // looked at for one chunk
inline constexpr size_t kSweepBucketsMax = 4096;  // a table, a tick: records of the dead are freed

inline constexpr size_t kOperationsMax = 16;  // orders of operators that wait for their turn
inline constexpr size_t kEventsMax = 65536;   // not taken by the shell: a bug of ours

}  // namespace server
