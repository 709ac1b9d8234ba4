#include "dns/serve/zone_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "dns/serve/transfer.h"
#include "dns/zone/transfer_reader.h"
#include "net/io/socket.h"

namespace dns {
namespace {

constexpr uint16_t kCopyId = 0;
constexpr size_t kWriteBytes = 1 << 20;

std::string Failure(const std::string& path) { return path + ": " + std::strerror(errno); }

bool WriteAll(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return true;
}

// Fills `out`, or less at the file's end; nothing on an error.
std::optional<size_t> ReadAll(int fd, std::span<uint8_t> out) {
  size_t have = 0;
  while (have < out.size()) {
    ssize_t got = read(fd, out.data() + have, out.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  return have;
}

// The records of a zone without its SOA.
TransferWriter::Source RecordsOf(std::shared_ptr<const Zone> zone) {
  auto name = zone->names.begin();
  return [zone = std::move(zone), name, set = size_t{0},
          at = size_t{0}]() mutable -> std::optional<Record> {
    for (; name != zone->names.end(); ++name, set = 0) {
      for (; set < name->second.size(); ++set, at = 0) {
        const Rrset& records = (name->second.begin() + static_cast<std::ptrdiff_t>(set))->second;
        if (records.type == Type::kSoa || at == records.rdatas.size()) continue;
        return Record{records.owner, records.type, records.ttl, records.rdatas[at++]};
      }
    }
    return std::nullopt;
  };
}

Bytes QuestionOf(const Name& apex) {
  Bytes question(apex.wire().begin(), apex.wire().end());
  Append16(question, static_cast<uint16_t>(Type::kAxfr));
  Append16(question, kClassIn);
  return question;
}

std::string WriteMessages(int fd, const std::shared_ptr<const Zone>& zone) {
  const Rrset& soa = zone->names.at(zone->apex).at(Type::kSoa);
  TransferWriter writer({soa.owner, soa.type, soa.ttl, soa.rdatas[0]}, RecordsOf(zone),
                        QuestionOf(zone->apex), kCopyId);
  Bytes out;
  while (!writer.done()) {
    Bytes message = writer.Next();
    if (message.empty()) return "a record fits no message";
    Append16(out, message.size());
    Append(out, message);
    if (out.size() < kWriteBytes && !writer.done()) continue;
    if (!WriteAll(fd, out)) return std::strerror(errno);
    out.clear();
  }
  return fsync(fd) == 0 ? "" : std::strerror(errno);
}

}  // namespace

std::string WriteZoneCopy(const std::string& path, const std::shared_ptr<const Zone>& zone) {
  // Two processes may be here at an upgrade.
  std::string next = path + "." + std::to_string(getpid()) + ".new";
  net::UniqueFd fd(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return Failure(next);
  std::string error = WriteMessages(fd.get(), zone);
  if (error.empty() && std::rename(next.c_str(), path.c_str()) != 0) error = std::strerror(errno);
  if (error.empty()) {
    std::string folder = std::filesystem::path(path).parent_path().string();
    net::UniqueFd directory(open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC));
    if (!directory || fsync(directory.get()) != 0) error = std::strerror(errno);
  } else {
    unlink(next.c_str());
  }
  return error.empty() ? "" : path + ": " + error;
}

std::expected<ZoneCopy, std::string> ReadZoneCopy(const std::string& path, const Name& apex,
                                                  size_t size_max) {
  net::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return ZoneCopy{};
  struct stat status{};
  if (!fd || fstat(fd.get(), &status) != 0) return std::unexpected(Failure(path));
  TransferReader reader(apex, kCopyId, nullptr, size_max);
  std::array<uint8_t, 2> size;
  Bytes message;
  while (true) {
    auto got = ReadAll(fd.get(), size);
    if (got) {
      message.resize(Get16(size.data()));
      got = *got < size.size() ? std::optional<size_t>(0) : ReadAll(fd.get(), message);
    }
    if (!got) return std::unexpected(Failure(path));
    if (*got < message.size() || message.empty()) return std::unexpected(path + ": is cut");
    auto step = reader.Take(message);
    if (!step) return std::unexpected(path + ": " + step.error());
    if (*step == TransferReader::Step::kDone) break;
  }
  auto zone = reader.Finish();
  if (!zone) return std::unexpected(path + ": " + zone.error());
  return ZoneCopy{std::move(*zone), status.st_mtim.tv_sec};
}

std::string TouchZoneCopy(const std::string& path) {
  return utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0 ? "" : Failure(path);
}

}  // namespace dns
