// Text from peers and files, made safe to show: on terminals, in logs, in JSON. Whatever comes in,
// what comes out is valid UTF-8 without control characters, of bounded length.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace net {

// How much of one value logs and error messages show.
inline constexpr size_t kShownBytesMax = 256;

// Appends `text` with control characters (C0, C1, DEL), the marks that turn the direction of
// writing, and bytes that are no UTF-8 written as \n, \t, \x1b, \u202e; a backslash or a double
// quote gets a backslash. At most about `bytes_max` bytes of `text` are shown, then "...".
void AppendPrintable(std::string& out, std::string_view text, size_t bytes_max = kShownBytesMax);
std::string Printable(std::string_view text, size_t bytes_max = kShownBytesMax);

// The same between single quotes, for the middle of a sentence.
std::string Quoted(std::string_view text, size_t bytes_max = kShownBytesMax);

// Appends `text` with the five characters that mean something in XML and HTML as entities, for
// content and quoted attributes.
void AppendMarkup(std::string& out, std::string_view text);
std::string EscapeMarkup(std::string_view text);

// Appends `text` as a JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD.
void AppendJsonString(std::string& out, std::string_view text, size_t bytes_max = SIZE_MAX);

}  // namespace net
