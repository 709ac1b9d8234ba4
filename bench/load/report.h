// Results as JSON and for people, and the measures by which two of them are compared.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "bench/load/result.h"
#include "bench/load/verdict.h"

namespace bench {

// Fills result.invalid.
void JudgeResult(Result& result);

// One JSON object, one line. Percentiles in microseconds; the histograms themselves go along
// (bucket index, count) so that results of several generators can be merged.
std::string ToJson(const Result& result);
std::string ToText(const Result& result);

// Several results of one moment (generators that ran side by side) as one: counts are summed,
// histograms added up, rates taken over the longest window. INVALID if one of them is. The error
// names the file that is no result of this tool.
std::expected<Result, std::string> Merge(const std::vector<std::string>& paths);

// The comparable measures of a JSON file written by this tool, or of one of bench/compare (then
// those of "ours"). An INVALID result is an error, as it proves nothing.
std::expected<std::vector<Measure>, std::string> ReadMeasures(const std::string& path);

}  // namespace bench
