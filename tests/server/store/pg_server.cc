#include "tests/server/store/pg_server.h"

#include <libpq-fe.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "net/base/check.h"

namespace server::test {
namespace {

constexpr char kBin[] = "/usr/lib/postgresql/15/bin/";
constexpr char kUser[] = "postgres";

[[noreturn]] void Missing(const std::string& what) {
  std::fprintf(stderr,
               "error: %s\nremedy: apt-get install postgresql (conf/packages.txt, [test])\n",
               what.c_str());
  std::exit(1);
}

void RunOrFail(const std::string& command, const std::string& log) {
  if (std::system((command + " >" + log + " 2>&1").c_str()) == 0) return;
  std::fprintf(stderr, "error: %s\n", command.c_str());
  [[maybe_unused]] const int shown = std::system(("tail -20 " + log + " >&2").c_str());
  std::exit(1);
}

}  // namespace

PgServer& PgServer::Get() {
  static PgServer server;
  return server;
}

PgServer::PgServer() {
  if (!std::filesystem::exists(std::string(kBin) + "initdb")) {
    Missing(std::string(kBin) + "initdb is missing");
  }
  std::string pattern = std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp";
  pattern += "/mongoose-pg-XXXXXX";
  CHECK(mkdtemp(pattern.data()) != nullptr);
  folder_ = pattern;
  if (geteuid() == 0) {
    // It refuses to run as root.
    const passwd* user = getpwnam(kUser);
    if (user == nullptr) Missing("there is no user postgres");
    CHECK(chown(folder_.c_str(), user->pw_uid, user->pw_gid) == 0);
    as_ = "setpriv --reuid=postgres --regid=postgres --clear-groups ";
  }
  CHECK(chmod(folder_.c_str(), 0711) == 0);
  RunOrFail("cd / && " + as_ + kBin + "initdb -D " + Path("data") +
                " -U postgres -A trust -E UTF8 --locale=C --no-sync",
            Path("initdb.log"));
  Start();
}

PgServer::~PgServer() {
  if (running_) StopImmediately();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void PgServer::Start() {
  Control("-w -l " + Path("data/log") + " -o \"-k " + folder_ +
          " -c listen_addresses='' -c max_connections=60 -c shared_buffers=32MB\" start");
  running_ = true;
}

void PgServer::StopImmediately() {
  Control("-w -m immediate stop");
  running_ = false;
}

void PgServer::Control(const std::string& words) {
  RunOrFail("cd / && " + as_ + kBin + "pg_ctl -D " + Path("data") + " " + words,
            Path("pg_ctl.log"));
}

std::string PgServer::NewDatabase() {
  const std::string name = "t" + std::to_string(++databases_);
  PGconn* connection = PQconnectdb(Url("postgres").c_str());
  PGresult* result = PQexec(connection, ("CREATE DATABASE " + name).c_str());
  if (PQresultStatus(result) != PGRES_COMMAND_OK) {
    std::fprintf(stderr, "%s\n", PQerrorMessage(connection));
    std::abort();
  }
  PQclear(result);
  PQfinish(connection);
  return name;
}

std::string PgServer::Url(const std::string& database, int port) const {
  if (port == 0) return "postgresql://postgres@/" + database + "?host=" + folder_;
  return "postgresql://postgres@127.0.0.1:" + std::to_string(port) + "/" + database +
         "?sslmode=disable";
}

std::string PgServer::socket_path() const { return Path(".s.PGSQL.5432"); }

}  // namespace server::test
