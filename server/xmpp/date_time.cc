#include "server/xmpp/date_time.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

namespace server {
namespace {

constexpr int64_t kSecond = 1'000'000;  // in microseconds
constexpr int64_t kDay = 86'400 * kSecond;

constexpr int64_t DaysOf(int year, unsigned month, unsigned day) {
  return std::chrono::sys_days(std::chrono::year(year) / std::chrono::month(month) /
                               std::chrono::day(day))
      .time_since_epoch()
      .count();
}
constexpr int64_t kFirst = DaysOf(1, 1, 1) * kDay;
constexpr int64_t kLast = (DaysOf(9'999, 12, 31) + 1) * kDay - 1;

// Reads from the front; what does not fit leaves it failed.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  int Digits(size_t count) {
    int value = 0;
    for (size_t i = 0; i < count; ++i) value = value * 10 + Digit();
    return value;
  }
  void Take(char c) {
    if (!TakeIf(c)) failed_ = true;
  }
  bool TakeIf(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // Of a second, in microseconds: one digit or more.
  int64_t Fraction() {
    int64_t value = Digit() * (kSecond / 10);
    for (int64_t unit = kSecond / 100; !rest_.empty() && IsDigit(rest_.front()); unit /= 10) {
      value += Digit() * unit;
    }
    return value;
  }
  bool good() const { return !failed_ && rest_.empty(); }

 private:
  static bool IsDigit(char c) { return c >= '0' && c <= '9'; }
  int Digit() {
    if (rest_.empty() || !IsDigit(rest_.front())) {
      failed_ = true;
      return 0;
    }
    const int digit = rest_.front() - '0';
    rest_.remove_prefix(1);
    return digit;
  }

  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace

std::string DateTimeText(int64_t unix_us) {
  using std::chrono::microseconds;
  const std::chrono::sys_time<microseconds> time{microseconds(std::clamp(unix_us, kFirst, kLast))};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  std::array<char, 64> text{};
  int size = std::snprintf(
      text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
      static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
      static_cast<int>(clock.seconds().count()));
  std::string result(text.data(), static_cast<size_t>(size));
  if (const auto fraction = clock.subseconds().count(); fraction != 0) {
    size = std::snprintf(text.data(), text.size(), ".%06d", static_cast<int>(fraction));
    result.append(text.data(), static_cast<size_t>(size));
  }
  return result += 'Z';
}

std::optional<int64_t> ParseDateTime(std::string_view text) {
  Reader reader(text);
  const std::chrono::year year(reader.Digits(4));
  reader.Take('-');
  const std::chrono::month month(static_cast<unsigned>(reader.Digits(2)));
  reader.Take('-');
  const std::chrono::day day(static_cast<unsigned>(reader.Digits(2)));
  reader.Take('T');
  const int hours = reader.Digits(2);
  reader.Take(':');
  const int minutes = reader.Digits(2);
  reader.Take(':');
  const int seconds = reader.Digits(2);
  const int64_t fraction = reader.TakeIf('.') ? reader.Fraction() : 0;
  int offset = 0;  // minutes
  if (!reader.TakeIf('Z')) {
    const bool behind = reader.TakeIf('-');
    if (!behind) reader.Take('+');
    const int offset_hours = reader.Digits(2);
    reader.Take(':');
    const int offset_minutes = reader.Digits(2);
    if (offset_hours > 23 || offset_minutes > 59) return std::nullopt;
    offset = (offset_hours * 60 + offset_minutes) * (behind ? -1 : 1);
  }
  const std::chrono::year_month_day date(year, month, day);
  // A leap second is the next one.
  if (!reader.good() || !date.ok() || hours > 23 || minutes > 59 || seconds > 60) {
    return std::nullopt;
  }
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const int64_t of_day = (hours * 60 + minutes - offset) * int64_t{60} + seconds;
  return days * kDay + of_day * kSecond + fraction;
}

}  // namespace server
