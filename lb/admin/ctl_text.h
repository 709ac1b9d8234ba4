// The answers of the control socket, for people: tables made from the JSON that `--json` shows.
// Nothing that comes in reaches the terminal as a control character.
//
// Pure.
#pragma once

#include <string>
#include <string_view>

#include "net/ctl/ctl_text.h"

namespace lb {

// What `mongooselb ctl COMMAND` prints for the last line of an answer that is ok.
std::string CtlAnswerText(std::string_view command, std::string_view reply_json,
                          const net::TextStyle& style);
// One frame of `top`, from an answer to `list`.
std::string CtlTopFrame(std::string_view reply_json, const net::TextStyle& style);

}  // namespace lb
