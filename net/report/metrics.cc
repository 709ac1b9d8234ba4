#include "net/report/metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "net/base/check.h"
#include "net/report/histogram.h"

namespace net {
namespace {

bool IsNameCharacter(char c, bool first, bool colon) {
  bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  return letter || (colon && c == ':') || (!first && c >= '0' && c <= '9');
}

bool IsName(std::string_view name, bool colon) {
  for (size_t i = 0; i < name.size(); ++i) {
    if (!IsNameCharacter(name[i], i == 0, colon)) return false;
  }
  return !name.empty();
}

// Prometheus unescapes \\, \n and \" and nothing else; other control characters are no harm to the
// format, but to the terminals on which it is read, and bytes that are no UTF-8 fail the scrape.
void AppendEscaped(std::string& out, std::string_view text, bool quotes) {
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else if (byte < 0x20 || byte >= 0x7f) {
      out += '?';
    } else {
      out += c;
    }
  }
}

void AppendNumber(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    std::array<char, 32> text{};  // the shortest text that reads back as the same number
    auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    out.append(text.data(), end);
  }
}

void AppendSeries(std::string& out, std::string_view name, std::string_view suffix,
                  std::span<const MetricLabel> labels, std::string_view le) {
  out += name;
  out += suffix;
  if (!labels.empty() || !le.empty()) {
    out += '{';
    bool first = true;
    for (const MetricLabel& label : labels) {
      CHECK(IsName(label.name, false) && label.name != "le");
      if (!first) out += ',';
      first = false;
      out += label.name;
      out += "=\"";
      AppendEscaped(out, label.value, true);
      out += '"';
    }
    if (!le.empty()) {
      if (!first) out += ',';
      out += "le=\"";
      out += le;
      out += '"';
    }
    out += '}';
  }
  out += ' ';
}

}  // namespace

void MetricsWriter::Begin(std::string_view name, std::string_view help, std::string_view type) {
  CHECK(IsName(name, true));
  CHECK(families_.emplace(name).second);  // a family must not be started twice
  text_ += "# HELP ";
  text_ += name;
  text_ += ' ';
  AppendEscaped(text_, help, false);
  text_ += "\n# TYPE ";
  text_ += name;
  text_ += ' ';
  text_ += type;
  text_ += '\n';
}

MetricsWriter::Family MetricsWriter::Counter(std::string_view name, std::string_view help) {
  CHECK(name.ends_with("_total"));
  Begin(name, help, "counter");
  return {this, *families_.find(name)};
}

MetricsWriter::Family MetricsWriter::Gauge(std::string_view name, std::string_view help) {
  CHECK(!name.ends_with("_total"));
  Begin(name, help, "gauge");
  return {this, *families_.find(name)};
}

void MetricsWriter::Family::AddText(std::span<const MetricLabel> labels, std::string_view value) {
  AppendSeries(writer_->text_, name_, "", labels, "");
  writer_->text_ += value;
  writer_->text_ += '\n';
}

void MetricsWriter::Family::Add(std::initializer_list<MetricLabel> labels, double value) {
  Add(std::span(labels.begin(), labels.size()), value);
}

void MetricsWriter::Family::Add(std::span<const MetricLabel> labels, double value) {
  std::string text;
  AppendNumber(text, value);
  AddText(labels, text);
}

void MetricsWriter::Histograms(std::string_view name, std::string_view help, double unit,
                               std::span<const double> bounds,
                               std::span<const HistogramSeries> series) {
  CHECK(std::ranges::is_sorted(bounds));
  Begin(name, help, "histogram");
  for (const HistogramSeries& one : series) {
    std::span<const MetricLabel> labels = one.labels;
    // A copy, so that the buckets, the count and the sum belong together while a worker records.
    Histogram values = *one.values;
    for (double bound : bounds) {
      std::string le;
      AppendNumber(le, bound);
      AppendSeries(text_, name, "_bucket", labels, le);
      text_ += std::to_string(values.CountAtMost(std::llround(bound * unit))) + '\n';
    }
    std::string total = std::to_string(values.CountAtMost(Histogram::kValueMax)) + '\n';
    AppendSeries(text_, name, "_bucket", labels, "+Inf");
    text_ += total;
    AppendSeries(text_, name, "_sum", labels, "");
    AppendNumber(text_, values.sum() / unit);
    text_ += '\n';
    AppendSeries(text_, name, "_count", labels, "");
    text_ += total;
  }
}

std::span<const double> LatencyBounds() {
  static constexpr std::array<double, 18> kBounds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                                     0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                                     1,      2.5,     5,      10,    30,     60};
  return kBounds;
}

}  // namespace net
