// A bare node of the distribution for the end-to-end tests: told by its arguments what it is, by
// lines on its standard input what to do; says on its standard output what came of it.
//
//   dist_probe NODE COOKIE [--key value]...
//   pings NODE COUNT | ping NODE | connect NODE | disconnect NODE | call NODE M F [atom]... | send
//   NODE MAILBOX TEXT | flood NODE MAILBOX COUNT BYTES | sunk | links | counter NAME | quit
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <future>
#include <iostream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>

#include "server/dist/dist_node.h"

namespace {

std::mutex print_mutex;
// What came to the mailbox "sink".
std::atomic<uint64_t> sunk{0};
// Wakes a flood that found the queue full.
std::mutex room_mutex;
std::condition_variable room;

void Say(const std::string& line) {
  std::lock_guard lock(print_mutex);
  std::cout << line << std::endl;
}

server::DistOptions ReadOptions(int argc, char** argv) {
  server::DistOptions options;
  options.node = argv[1];
  options.cookie = argv[2];
  options.interface = *net::Address::FromIp("127.0.0.1", 0);
  options.version = "probe";
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    const std::string value = argv[i + 1];
    if (key == "--min") options.listen_min = static_cast<uint16_t>(std::stoi(value));
    if (key == "--max") options.listen_max = static_cast<uint16_t>(std::stoi(value));
    if (key == "--fixed") {
      options.fixed_port = static_cast<uint16_t>(std::stoi(value));
      options.epmd.enabled = false;
    }
    if (key == "--epmd") options.epmd.port = static_cast<uint16_t>(std::stoi(value));
    if (key == "--start-epmd") options.epmd.start = value == "true";
    if (key == "--epmd-program") options.epmd.program = value;
    if (key == "--visible") options.visible = value == "true";
    if (key == "--ticktime") options.net_ticktime = std::chrono::seconds(std::stoi(value));
    if (key == "--setup-ms") options.setup_time = std::chrono::milliseconds(std::stoi(value));
    if (key == "--handshakes") options.handshakes_max = static_cast<size_t>(std::stoi(value));
    if (key == "--ipv6" && value == "true") {
      options.ipv6 = true;
      options.interface = *net::Address::FromIp("::1", 0);
    }
    if (key == "--wire") {
      options.wire = options.wire_oldest = static_cast<uint32_t>(std::stoi(value));
    }
    if (key == "--queue") options.link_queue_bytes_max = std::stoul(value);
    if (key == "--links") options.links_max = std::stoul(value);
    if (key == "--allow") {
      options.allow = [value](std::string_view node) { return node == value; };
    }
  }
  return options;
}

void SetHandlers(server::DistNode& node) {
  node.OnNodeUp([](const server::DistPeer& peer) {
    Say("up " + peer.node + (peer.ours ? " ours" : " foreign"));
  });
  node.OnNodeDown([](const server::DistPeer& peer, std::string_view why) {
    Say("down " + peer.node + " " + std::string(why));
  });
  node.OnMessage("probe", [](const server::DistMessage& message) {
    if (message.from.ours) {
      Say("message " + message.from.node + " " +
          std::string(message.bytes.begin(), message.bytes.end()));
    } else {
      Say("term " + message.from.node + " " + message.term.ToText());
    }
  });
  node.OnMessage("sink", [](const server::DistMessage&) { ++sunk; });
  node.OnWritable([](const std::string&) {
    std::lock_guard lock(room_mutex);
    room.notify_all();
  });
  node.OnRpc("mnesia", "system_info", [&node](const server::RpcCall& call, server::RpcReply reply) {
    if (call.args.size() != 1 || !call.args[0].IsAtom("running_db_nodes")) return reply.Undef();
    reply.Return(server::Term::List({server::Term::Atom(node.node())}));
  });
  node.OnRpc("probe", "echo", [](const server::RpcCall& call, server::RpcReply reply) {
    std::vector<server::Term> args;
    for (const auto& arg : call.args) args.emplace_back(arg);
    reply.Return(server::Term::List(args));
  });
  node.OnRpc("probe", "fail", [](const server::RpcCall&, server::RpcReply reply) {
    reply.Error(server::Term::Atom("as_told"));
  });
  node.OnRpc("probe", "forget", [](const server::RpcCall&, server::RpcReply) {});
}

void Call(server::DistNode& node, std::istringstream& words) {
  std::string peer, module, function, word;
  words >> peer >> module >> function;
  std::vector<server::Term> args;
  while (words >> word) args.push_back(server::Term::Atom(word));
  node.Call(peer, module, function, args, std::chrono::seconds(5), [](server::RpcResult result) {
    Say("called " + (result ? result->ToText() : "error " + result.error().ToText()));
  });
}

void Flood(server::DistNode& node, std::istringstream& words) {
  std::string peer, mailbox;
  size_t count = 0;
  size_t bytes = 0;
  words >> peer >> mailbox >> count >> bytes;
  const std::vector<uint8_t> payload(bytes, 'x');
  for (size_t i = 0; i < count;) {
    const auto result = node.Send(peer, mailbox, payload);
    if (result == server::SendResult::kQueued) {
      ++i;
    } else if (result == server::SendResult::kFull) {
      std::unique_lock lock(room_mutex);
      room.wait_for(lock, std::chrono::milliseconds(5));  // it may have come before we wait
    } else {
      return Say("flooded " + std::string(ToString(result)));
    }
  }
  Say("flooded " + std::to_string(count));
}

// One after the other; the median in microseconds.
void Pings(server::DistNode& node, const std::string& peer, size_t count) {
  std::vector<int64_t> took;
  for (size_t i = 0; i < count; ++i) {
    std::promise<bool> pong;
    const auto began = std::chrono::steady_clock::now();
    node.Ping(peer, std::chrono::seconds(5), [&](bool came) { pong.set_value(came); });
    if (!pong.get_future().get()) return Say("pinged pang");
    took.push_back((std::chrono::steady_clock::now() - began).count());
  }
  std::ranges::sort(took);
  Say("pinged " + std::to_string(static_cast<double>(took[took.size() / 2]) / 1000));
}

void Counter(const server::DistNode& node, const std::string& name) {
  for (size_t i = 0; i < static_cast<size_t>(server::DistCounter::kCount); ++i) {
    const auto counter = static_cast<server::DistCounter>(i);
    if (ToString(counter) == name) return Say("counter " + std::to_string(node.Sum(counter)));
  }
  Say("counter none");
}

void Run(server::DistNode& node) {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string verb, peer, mailbox, text;
    words >> verb;
    if (verb == "quit") return;
    if (verb == "call") {
      Call(node, words);
      continue;
    }
    if (verb == "flood") {
      Flood(node, words);
      continue;
    }
    if (verb == "sunk") {
      Say("sunk " + std::to_string(sunk));
      continue;
    }
    words >> peer;
    if (verb == "pings") {
      size_t count = 1;
      words >> count;
      Pings(node, peer, count);
    } else if (verb == "ping") {
      node.Ping(peer, std::chrono::seconds(5),
                [](bool pong) { Say(pong ? "pinged pong" : "pinged pang"); });
    } else if (verb == "connect") {
      node.Connect(peer, [](std::expected<void, server::ConnectError> result) {
        Say("connected " + (result                  ? std::string("ok")
                            : result.error().absent ? "absent: " + result.error().what
                                                    : result.error().what));
      });
    } else if (verb == "disconnect") {
      node.Disconnect(peer, "told to");
    } else if (verb == "send") {
      words >> mailbox >> text;
      Say("sent " +
          std::string(ToString(node.Send(
              peer, mailbox, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}))));
    } else if (verb == "links") {
      std::string all = "links";
      for (const auto& name : node.NodesUp()) all += " " + name;
      Say(all);
    } else if (verb == "counter") {
      Counter(node, peer);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  auto node = server::DistNode::Create(ReadOptions(argc, argv));
  if (!node) {
    Say("error " + node.error().what + "; " + node.error().remedy);
    return 1;
  }
  SetHandlers(**node);
  if (auto started = (*node)->Start(); !started) {
    Say("error " + started.error().what + "; " + started.error().remedy);
    return 1;
  }
  Say("ready " + std::to_string((*node)->port()) + " " + std::to_string((*node)->creation()));
  Run(**node);
  (*node)->Stop();
  Say("stopped");
  return 0;
}
