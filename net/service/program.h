// The frame of a program that serves, is reloaded, drained, and replaced by a newer binary of
// itself without a connect refused: its loop, its signals, what its service manager is told, and
// both sides of the hand-over. What the program does with all that is its own.
//
//   Program::Prepare({SIGTERM, SIGINT, SIGHUP});            // in main(), before any thread
//   Program program(Program::Self(argv[0], {"run", file}), {.name = "mongooselb"}, inherit_fd);
//   if (auto made = program.MakeLoop(); !made) return program.Refuse(made.error());
//   auto inheritance = program.Inherit();                   // of the process before, if there is
//   one … open what is not inherited, become another user … program.Serve(orders); // signals and
//   service manager, from here program.Running();                                      // whoever
//   waits for it is told program.loop().Run(); program.LeaveOthers(); … take apart what used the
//   loop … program.Silence(); program.Drain();
//
// The thread that made it. It must outlive whatever uses its loop.
#pragma once

#include <sys/types.h>

#include <expected>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/clock.h"
#include "net/io/event_loop.h"
#include "net/service/hand_over.h"
#include "net/service/line_channel.h"
#include "net/service/service_manager.h"
#include "net/service/signals.h"

namespace net {

class Program {
 public:
  // Exit statuses of what refuses to run, and of a command line that is not understood.
  static constexpr int kFailed = 1;
  static constexpr int kUsage = 2;

  struct Options {
    std::string name;                                      // in front of what goes wrong here
    std::string part;                                      // of its log lines
    Duration successor_within = std::chrono::seconds(60);  // that an upgrade may take to serve
  };

  // What those who run it ask of it. All are called on the loop.
  struct Orders {
    std::function<void()> reload;                 // SIGHUP
    std::function<void()> stop;                   // SIGTERM, SIGINT
    std::function<void()> stop_now;               // and once more
    std::function<void(int)> other = [](int) {};  // any other signal that it watches
    std::function<std::string()> status;          // a line for the service manager
    // Lines of the process before and of the one behind, after the hand-over.
    std::function<void(std::string_view)> from_predecessor = [](std::string_view) {};
    std::function<void(std::string_view)> from_successor = [](std::string_view) {};
    std::function<void()> predecessor_left = [] {};
  };

  // In main(), before any thread: signals come by the loop, and no write ends the process.
  static void Prepare(std::initializer_list<int> signals);
  // This program again, for the process that takes over some day.
  static SuccessorProgram Self(const char* argv0, std::vector<std::string> arguments);

  // `inherit_fd`: of the process that started this one as its successor; -1 without.
  Program(SuccessorProgram self, Options options, int inherit_fd);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Says why it does not run, also to the process that waits for it to take over. kFailed.
  int Refuse(std::string_view why);

  std::expected<void, std::string> MakeLoop();
  EventLoop& loop() { return *loop_; }
  const Clock& clock() const { return clock_; }

  // It was started to take over, and has not yet.
  bool inherits() const { return static_cast<bool>(predecessor_); }
  // What the process before leaves; nothing without one.
  std::expected<Inheritance, std::string> Inherit();

  void Serve(std::initializer_list<int> signals, Orders orders);
  void Running();
  // While `reload` goes on, and behind it.
  void Reloading();
  void Reloaded();
  // It stops; no successor goes on.
  void Stopping();

  // Starts the successor, which gets `inheritance`. `done` comes when it serves, or has failed:
  // then with the reason, and this process goes on. `path`: of another binary, "" for this
  // program's.
  using UpgradeDone = std::move_only_function<void(std::expected<pid_t, std::string>)>;
  void Upgrade(const std::string& path, Inheritance inheritance, UpgradeDone done);
  // Another upgrade is under way: none can begin.
  bool upgrading() const { return hand_over_ != nullptr && !hand_over_->ended(); }
  static constexpr std::string_view kUpgrading =
      "another upgrade is under way, or its process has not ended yet; try again in a moment";
  void TellPredecessor(std::string_view line);
  void TellSuccessor(std::string_view line);

  // --- The end, in this order.
  void LeaveOthers();  // the processes before and behind
  void Silence();      // signals and service manager
  void Drain();        // what is still under way; said, where it does not end

 private:
  void OnSignal(int signal);
  void OnHandOver(std::expected<HandOver::Successor, std::string>& successor, UpgradeDone& done);

  const SuccessorProgram self_;
  const Options options_;
  UniqueFd predecessor_;  // while it waits for us
  SystemClock clock_;
  std::unique_ptr<EventLoop> loop_;
  Orders orders_;
  bool told_to_stop_ = false;
  std::unique_ptr<SignalWatcher> signals_;
  std::unique_ptr<ServiceManager> service_;
  std::unique_ptr<HandOver> hand_over_;
  std::unique_ptr<LineChannel> from_predecessor_;
  std::unique_ptr<LineChannel> to_successor_;
};

}  // namespace net
