// A PostgreSQL server of the tests' own: in a folder that goes with it, on a socket there, as a
// user that may run it. Databases are made from nothing for whoever asks.
#pragma once

#include <string>

namespace server::test {

class PgServer {
 public:
  // Of the process, started when it is asked for first. Where Debian's server is missing, it ends
  // the process with the remedy.
  static PgServer& Get();

  // Empty, under a new name.
  std::string NewDatabase();
  // As stores want it; by the socket, or by a port on 127.0.0.1 that leads there.
  std::string Url(const std::string& database, int port = 0) const;
  std::string socket_path() const;

  // As a power cut ends it: nothing is written any more.
  void StopImmediately();
  void Start();

  PgServer();
  ~PgServer();
  PgServer(const PgServer&) = delete;
  PgServer& operator=(const PgServer&) = delete;

 private:
  void Control(const std::string& words);

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }

  // In memory where there is such a place: its syncs are not what is tested.
  std::string folder_;
  std::string as_;  // in front of commands
  int databases_ = 0;
  bool running_ = false;
};

}  // namespace server::test
