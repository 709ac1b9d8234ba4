#include "bench/load/xmpp/story_report.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "bench/load/xmpp/xml_view.h"

namespace bench {
namespace {

using nlohmann::json;

constexpr double kNsPerMs = 1e6;
constexpr int kPlotWidth = 900;
constexpr int kPlotHeight = 130;

std::string Ms(std::int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(ns) / kNsPerMs);
  return text;
}

std::string Seconds(std::int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(ns) / 1e9);
  return text;
}

struct Figure {
  const char* name;
  std::uint64_t value;
  bool fault;
};

std::vector<Figure> Figures(const History::Verdict& verdict) {
  return {{"sent", verdict.sent, false},
          {"counted", verdict.counted, false},
          {"received", verdict.received, false},
          {"returned", verdict.returned, false},
          {"uncounted", verdict.uncounted, false},
          {"repeated", verdict.repeated, false},
          {"lost", verdict.lost, true},
          {"doubled", verdict.doubled, true},
          {"swapped", verdict.swapped, true},
          {"both", verdict.both, true},
          {"invented", verdict.invented, true}};
}

struct Line {
  std::string title;
  const char* unit;
  std::function<double(const StorySecond&)> value;
};

const std::vector<Line>& Lines() {
  static const std::vector<Line> lines = {
      {"sessions there", "", [](const StorySecond& s) { return s.ready; }},
      {"logins", "/s", [](const StorySecond& s) { return s.logins; }},
      {"resumptions", "/s", [](const StorySecond& s) { return s.resumptions; }},
      {"resumptions refused", "/s", [](const StorySecond& s) { return s.refused; }},
      {"streams broken", "/s", [](const StorySecond& s) { return s.broken; }},
      {"attempts failed", "/s", [](const StorySecond& s) { return s.failures; }},
      {"messages sent", "/s", [](const StorySecond& s) { return s.sent; }},
      {"messages received", "/s", [](const StorySecond& s) { return s.received; }},
      {"delivery, p99", " ms",
       [](const StorySecond& s) { return static_cast<double>(s.delivery_p99_ns) / kNsPerMs; }},
      {"delivery, longest", " ms",
       [](const StorySecond& s) { return static_cast<double>(s.delivery_max_ns) / kNsPerMs; }}};
  return lines;
}

void AppendPlot(std::string& out, const Story& story, const Line& line) {
  const std::size_t count = std::max<std::size_t>(story.seconds.size(), 2);
  double most = 1;
  for (const StorySecond& second : story.seconds) most = std::max(most, line.value(second));
  const auto x = [&](double at) { return at * kPlotWidth / static_cast<double>(count - 1); };
  char text[160];
  std::snprintf(text, sizeof text, " <small>at most %.6g%s</small></h2>\n", most, line.unit);
  out.append("<h2>").append(Escaped(line.title)).append(text);
  std::snprintf(text, sizeof text, "<svg viewBox='0 0 %d %d' role='img' aria-label='", kPlotWidth,
                kPlotHeight);
  out.append(text).append(Escaped(line.title)).append("'>");
  for (std::size_t i = 0; i < story.acts.size(); ++i) {
    const double at = x(static_cast<double>(story.acts[i].at_ns) / 1e9);
    std::snprintf(text, sizeof text,
                  "<line class='act' x1='%.1f' x2='%.1f' y1='0' y2='%d'/><text x='%.1f' y='12'>%zu"
                  "</text>",
                  at, at, kPlotHeight, at + 3, i + 1);
    out += text;
  }
  out += "<polyline points='";
  for (std::size_t i = 0; i < story.seconds.size(); ++i) {
    std::snprintf(text, sizeof text, "%.1f,%.1f ", x(static_cast<double>(i)),
                  kPlotHeight - line.value(story.seconds[i]) / most * (kPlotHeight - 16));
    out += text;
  }
  out += "'/></svg>\n";
}

// Where sessions came: one plot a target.
std::vector<Line> Landings(const Story& story) {
  std::vector<Line> lines;
  for (std::size_t i = 0; i < story.targets.size(); ++i) {
    lines.push_back({"landings at " + story.targets[i], "/s", [i](const StorySecond& s) {
                       return i < s.landings.size() ? s.landings[i] : 0U;
                     }});
  }
  return lines;
}

constexpr const char* kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;"
    "color:#1c2733;background:#fff}h1{font-size:1.5em}h2{font-size:1em;margin:1.4em 0 .2em}"
    "small{font-weight:normal;color:#667}svg{width:100%;background:#f4f6f8}"
    "polyline{fill:none;stroke:#0b66c3;stroke-width:1.5}.act{stroke:#c33;stroke-dasharray:4 3}"
    "svg text{font-size:11px;fill:#c33}table{border-collapse:collapse}"
    "td,th{padding:.15em .8em .15em 0;text-align:left}.good{color:#17692b}.bad{color:#b3141d}"
    "code{background:#f4f6f8;padding:0 .3em}";

std::string Sentence(const Story& story) {
  if (!story.invalid.empty()) return "INVALID: this run proves nothing";
  if (story.verdict.Faultless()) return "nothing counted was lost, doubled or swapped";
  return IsGood(story) ? "nothing counted was lost; where nodes died some came twice, or late"
                       : "the service broke its word";
}

}  // namespace

bool IsGood(const Story& story) {
  return story.invalid.empty() && story.verdict.Faultless(story.may_repeat);
}

void JudgeStory(Story& story) {
  const auto doubt = [&](std::string why) { story.invalid.push_back(std::move(why)); };
  if (story.interrupted) doubt("it was interrupted");
  if (story.verdict.counted == 0) doubt("no message was counted");
  if (story.ready < story.sessions) {
    doubt(std::to_string(story.sessions - story.ready) + " of " + std::to_string(story.sessions) +
          " sessions were not there at the end");
  }
  for (const Act& act : story.acts) {
    if (act.begun_ns < 0) {
      doubt("\"" + act.command + "\" did not begin");
    } else if (act.ended_ns < 0) {
      doubt("\"" + act.command + "\" did not end");
    } else if (act.status != 0) {
      doubt("\"" + act.command + "\" ended with status " + std::to_string(act.status));
    }
  }
}

std::string SecondLine(std::size_t number, const StorySecond& second) {
  char text[200];
  std::snprintf(text, sizeof text,
                "%4zu s  %5u there  sent %5u  received %5u  p99 %7.1f ms  logins %4u  resumed %4u  "
                "broken %4u  failed %4u\n",
                number, second.ready, second.sent, second.received,
                static_cast<double>(second.delivery_p99_ns) / kNsPerMs, second.logins,
                second.resumptions, second.broken, second.failures);
  return text;
}

std::string ActLine(const Act& act) {
  if (act.ended_ns < 0) return "        $ " + act.command + "\n";
  return act.status == 0
             ? ""
             : "        status " + std::to_string(act.status) + ": " + act.command + "\n";
}

std::string StoryJson(const Story& story) {
  json verdict;
  for (const Figure& figure : Figures(story.verdict)) verdict[figure.name] = figure.value;
  verdict["faultless"] = story.verdict.Faultless(story.may_repeat);
  verdict["examples"] = story.verdict.examples;
  verdict["returned_for"] = story.returned;
  json acts = json::array();
  for (const Act& act : story.acts) {
    acts.push_back({{"at_s", static_cast<double>(act.at_ns) / 1e9},
                    {"command", act.command},
                    {"begun_s", static_cast<double>(act.begun_ns) / 1e9},
                    {"ended_s", static_cast<double>(act.ended_ns) / 1e9},
                    {"status", act.status}});
  }
  json seconds = json::array();
  for (const StorySecond& second : story.seconds) {
    seconds.push_back({{"sent", second.sent},
                       {"received", second.received},
                       {"logins", second.logins},
                       {"resumptions", second.resumptions},
                       {"refused", second.refused},
                       {"broken", second.broken},
                       {"failures", second.failures},
                       {"ready", second.ready},
                       {"landings", second.landings},
                       {"delivery_p99_us", second.delivery_p99_ns / 1000},
                       {"delivery_max_us", second.delivery_max_ns / 1000}});
  }
  const json all = {{"mode", "scenario"},
                    {"target", story.target},
                    {"targets", story.targets},
                    {"sessions", story.sessions},
                    {"ready_at_the_end", story.ready},
                    {"verdict", std::move(verdict)},
                    {"acts", std::move(acts)},
                    {"seconds", std::move(seconds)},
                    {"absence_p50_us", story.absence_p50_ns / 1000},
                    {"absence_max_us", story.absence_max_ns / 1000},
                    {"delivery_p50_us", story.delivery_p50_ns / 1000},
                    {"delivery_p99_us", story.delivery_p99_ns / 1000},
                    {"examples", story.examples},
                    {"invalid", story.invalid}};
  return all.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string StoryText(const Story& story) {
  std::string out = Sentence(story) + "\n";
  for (const std::string& why : story.invalid) out += "  " + why + "\n";
  for (const Figure& figure : Figures(story.verdict)) {
    if (figure.value == 0 && !figure.fault) continue;
    char text[64];
    std::snprintf(text, sizeof text, "  %-10s %llu\n", figure.name,
                  static_cast<unsigned long long>(figure.value));
    out += text;
  }
  for (const auto& [why, count] : story.returned) {
    out += "  returned   " + std::to_string(count) + " for " + why + "\n";
  }
  for (const std::string& example : story.verdict.examples) out += "  " + example + "\n";
  out += "  delivery   p50 " + Ms(story.delivery_p50_ns) + ", p99 " + Ms(story.delivery_p99_ns) +
         "\n  absence    p50 " + Ms(story.absence_p50_ns) + ", longest " +
         Ms(story.absence_max_ns) + "\n";
  for (const Act& act : story.acts) {
    out += "  " + Seconds(act.at_ns) + "  " + act.command + ": status " +
           std::to_string(act.status) + "\n";
  }
  for (const std::string& example : story.examples) out += "  failure: " + example + "\n";
  return out;
}

std::string StoryPage(const Story& story) {
  const bool good = IsGood(story);
  std::string out = "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>";
  out.append(Escaped(Sentence(story))).append("</title><style>").append(kStyle);
  out.append("</style></head><body>\n<h1 class='").append(good ? "good" : "bad").append("'>");
  out.append(Escaped(Sentence(story))).append("</h1>\n<p>");
  out.append(std::to_string(story.sessions)).append(" sessions at ");
  out.append(Escaped(story.target)).append(", ").append(std::to_string(story.seconds.size()));
  out.append(" seconds. Delivery: p50 ").append(Ms(story.delivery_p50_ns)).append(", p99 ");
  out.append(Ms(story.delivery_p99_ns)).append(". Absence: p50 ");
  out.append(Ms(story.absence_p50_ns)).append(", longest ").append(Ms(story.absence_max_ns));
  out += ".</p>\n";
  for (const auto* list : {&story.invalid, &story.verdict.examples, &story.examples}) {
    for (const std::string& line : *list) out += "<p class='bad'>" + Escaped(line) + "</p>\n";
  }
  out += "<table>";
  for (const Figure& figure : Figures(story.verdict)) {
    out.append("<tr><th>").append(figure.name).append("</th><td");
    if (figure.fault) out += figure.value == 0 ? " class='good'" : " class='bad'";
    out.append(">").append(std::to_string(figure.value)).append("</td></tr>");
  }
  for (const auto& [why, count] : story.returned) {
    out.append("<tr><th>returned for ").append(Escaped(why)).append("</th><td>");
    out.append(std::to_string(count)).append("</td></tr>");
  }
  out += "</table>\n<ol>";
  for (const Act& act : story.acts) {
    out.append("<li>").append(Seconds(act.at_ns)).append(" <code>").append(Escaped(act.command));
    out.append("</code> status ").append(std::to_string(act.status)).append("</li>");
  }
  out += "</ol>\n";
  for (const Line& line : Lines()) AppendPlot(out, story, line);
  for (const Line& line : Landings(story)) AppendPlot(out, story, line);
  return out + "</body></html>\n";
}

}  // namespace bench
