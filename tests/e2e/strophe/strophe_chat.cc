// libstrophe as a client of the end-to-end tests: it logs in over TLS whose certificate it checks,
// says and hears messages, and comes back to its session (XEP-0198) when its connection is cut.
//
//   strophe_chat JID PASSWORD HOST PORT CA-FILE starttls|direct
//
// Lines in: "say TO TEXT", "roster", "carbons", "cut", "bye". Lines out: "online JID", "resumed",
// "heard FROM TEXT", "receipt ID", "roster JID SUBSCRIPTION", "carbon FROM TEXT", "gone".
#include <poll.h>
#include <strophe.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <utility>

namespace {

struct Chat {
  xmpp_ctx_t* context = nullptr;
  xmpp_conn_t* conn = nullptr;
  std::string jid, password, host, ca_file;
  unsigned short port = 0;
  long flags = 0;
  int socket = -1;
  bool cut = false;  // by us: it comes back
  bool again = false;
  bool over = false;
  int ids = 0;
};

Chat the_chat;  // libstrophe gives OnSocket() nothing else

void Tell(const std::string& line) { std::cout << line << std::endl; }

std::string Text(xmpp_stanza_t* of, const char* child) {
  xmpp_stanza_t* found = xmpp_stanza_get_child_by_name(of, child);
  char* text = found == nullptr ? nullptr : xmpp_stanza_get_text(found);
  if (text == nullptr) return {};
  std::string copy = text;
  free(text);
  return copy;
}

std::string Attribute(xmpp_stanza_t* of, const char* name) {
  const char* value = xmpp_stanza_get_attribute(of, name);
  return value == nullptr ? "" : value;
}

int OnMessage(xmpp_conn_t* conn, xmpp_stanza_t* stanza, void* data) {
  auto& chat = *static_cast<Chat*>(data);
  const std::string body = Text(stanza, "body");
  const std::string from = Attribute(stanza, "from");
  if (xmpp_stanza_t* received =
          xmpp_stanza_get_child_by_name_and_ns(stanza, "received", "urn:xmpp:receipts")) {
    Tell("receipt " + Attribute(received, "id"));
  }
  for (const char* kind : {"sent", "received"}) {
    xmpp_stanza_t* carbon =
        xmpp_stanza_get_child_by_name_and_ns(stanza, kind, "urn:xmpp:carbons:2");
    xmpp_stanza_t* forwarded =
        carbon == nullptr ? nullptr : xmpp_stanza_get_child_by_name(carbon, "forwarded");
    xmpp_stanza_t* copy =
        forwarded == nullptr ? nullptr : xmpp_stanza_get_child_by_name(forwarded, "message");
    if (copy != nullptr) Tell("carbon " + Attribute(copy, "from") + " " + Text(copy, "body"));
  }
  if (body.empty()) return 1;
  Tell("heard " + from + " " + body);
  if (xmpp_stanza_get_child_by_name_and_ns(stanza, "request", "urn:xmpp:receipts") == nullptr) {
    return 1;
  }
  xmpp_stanza_t* answer = xmpp_message_new(chat.context, nullptr, from.c_str(), nullptr);
  xmpp_stanza_t* receipt = xmpp_stanza_new(chat.context);
  xmpp_stanza_set_name(receipt, "received");
  xmpp_stanza_set_ns(receipt, "urn:xmpp:receipts");
  xmpp_stanza_set_attribute(receipt, "id", Attribute(stanza, "id").c_str());
  xmpp_stanza_add_child_ex(answer, receipt, 0);
  xmpp_send(conn, answer);
  xmpp_stanza_release(answer);
  return 1;
}

int OnRoster(xmpp_conn_t*, xmpp_stanza_t* stanza, void*) {
  xmpp_stanza_t* query = xmpp_stanza_get_child_by_name(stanza, "query");
  for (xmpp_stanza_t* item = query == nullptr ? nullptr : xmpp_stanza_get_children(query);
       item != nullptr; item = xmpp_stanza_get_next(item)) {
    Tell("roster " + Attribute(item, "jid") + " " + Attribute(item, "subscription"));
  }
  Tell("roster end");
  return 0;
}

int OnCarbons(xmpp_conn_t*, xmpp_stanza_t* stanza, void*) {
  Tell("carbons " + Attribute(stanza, "type"));
  return 0;
}

int OnSocket(xmpp_conn_t*, void* socket) {
  // The connection's own: it is cut there, as a network does it.
  the_chat.socket = *static_cast<int*>(socket);
  return 0;
}

void Request(Chat& chat, const char* type, const char* name, const char* space,
             xmpp_handler on_answer) {
  const std::string id = "q" + std::to_string(++chat.ids);
  xmpp_stanza_t* iq = xmpp_iq_new(chat.context, type, id.c_str());
  xmpp_stanza_t* payload = xmpp_stanza_new(chat.context);
  xmpp_stanza_set_name(payload, name);
  xmpp_stanza_set_ns(payload, space);
  xmpp_stanza_add_child_ex(iq, payload, 0);
  xmpp_id_handler_add(chat.conn, on_answer, id.c_str(), &chat);
  xmpp_send(chat.conn, iq);
  xmpp_stanza_release(iq);
}

void Say(Chat& chat, const std::string& to, const std::string& text) {
  const std::string id = "m" + std::to_string(++chat.ids);
  xmpp_stanza_t* message = xmpp_message_new(chat.context, "chat", to.c_str(), id.c_str());
  xmpp_message_set_body(message, text.c_str());
  xmpp_stanza_t* request = xmpp_stanza_new(chat.context);
  xmpp_stanza_set_name(request, "request");
  xmpp_stanza_set_ns(request, "urn:xmpp:receipts");
  xmpp_stanza_add_child_ex(message, request, 0);
  xmpp_send(chat.conn, message);
  xmpp_stanza_release(message);
}

void OnConnection(xmpp_conn_t* conn, xmpp_conn_event_t event, int, xmpp_stream_error_t*,
                  void* data);

void Connect(Chat& chat, xmpp_sm_state_t* session) {
  chat.conn = xmpp_conn_new(chat.context);
  xmpp_conn_set_flags(chat.conn, chat.flags);
  xmpp_conn_set_jid(chat.conn, chat.jid.c_str());
  xmpp_conn_set_pass(chat.conn, chat.password.c_str());
  xmpp_conn_set_cafile(chat.conn, chat.ca_file.c_str());
  xmpp_conn_set_sockopt_callback(chat.conn, OnSocket);
  if (session != nullptr && xmpp_conn_set_sm_state(chat.conn, session) != XMPP_EOK) {
    std::exit(3);
  }
  if (xmpp_connect_client(chat.conn, chat.host.c_str(), chat.port, OnConnection, &chat) !=
      XMPP_EOK) {
    std::exit(4);
  }
}

void OnConnection(xmpp_conn_t* conn, xmpp_conn_event_t event, int, xmpp_stream_error_t*,
                  void* data) {
  auto& chat = *static_cast<Chat*>(data);
  if (event == XMPP_CONN_CONNECT) {
    if (xmpp_conn_is_secured(conn) == 0) std::exit(5);
    xmpp_handler_add(conn, OnMessage, nullptr, "message", nullptr, &chat);
    if (std::exchange(chat.cut, false)) return Tell("resumed");
    xmpp_stanza_t* presence = xmpp_presence_new(chat.context);
    xmpp_send(conn, presence);
    xmpp_stanza_release(presence);
    return Tell(std::string("online ") + xmpp_conn_get_bound_jid(conn));
  }
  if (!chat.cut) {
    chat.over = true;
    return Tell("gone");
  }
  // Not from within its own call.
  chat.again = true;
}

bool Do(Chat& chat, const std::string& line) {
  const size_t space = line.find(' ');
  const std::string word = line.substr(0, space);
  if (word == "say") {
    const size_t next = line.find(' ', space + 1);
    Say(chat, line.substr(space + 1, next - space - 1), line.substr(next + 1));
  } else if (word == "roster") {
    Request(chat, "get", "query", "jabber:iq:roster", OnRoster);
  } else if (word == "carbons") {
    Request(chat, "set", "enable", "urn:xmpp:carbons:2", OnCarbons);
  } else if (word == "cut") {
    chat.cut = true;
    shutdown(chat.socket, SHUT_RDWR);
  } else {
    xmpp_disconnect(chat.conn);
    return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) return 2;
  Chat& chat = the_chat;
  chat.jid = argv[1];
  chat.password = argv[2];
  chat.host = argv[3];
  chat.port = static_cast<unsigned short>(std::atoi(argv[4]));
  chat.ca_file = argv[5];
  chat.flags = std::strcmp(argv[6], "direct") == 0 ? XMPP_CONN_FLAG_LEGACY_SSL
                                                   : XMPP_CONN_FLAG_MANDATORY_TLS;
  signal(SIGPIPE, SIG_IGN);  // libstrophe writes to connections that are gone
  xmpp_initialize();
  chat.context = xmpp_ctx_new(
      nullptr, xmpp_get_default_logger(std::getenv("STROPHE_DEBUG") == nullptr ? XMPP_LEVEL_WARN
                                                                               : XMPP_LEVEL_DEBUG));
  Connect(chat, nullptr);
  std::string pending;
  bool reads = true;
  while (!chat.over) {
    xmpp_run_once(chat.context, 10);
    if (std::exchange(chat.again, false)) {
      xmpp_sm_state_t* session = xmpp_conn_get_sm_state(chat.conn);
      xmpp_conn_release(chat.conn);
      Connect(chat, session);
    }
    pollfd in{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    while (reads && poll(&in, 1, 0) == 1) {
      char bytes[4096];
      const ssize_t size = read(STDIN_FILENO, bytes, sizeof(bytes));
      if (size <= 0) {
        reads = false;
        xmpp_disconnect(chat.conn);
        break;
      }
      pending.append(bytes, static_cast<size_t>(size));
      for (size_t end = 0; (end = pending.find('\n')) != std::string::npos;) {
        const std::string line = pending.substr(0, end);
        pending.erase(0, end + 1);
        reads = Do(chat, line) && reads;
      }
    }
  }
  xmpp_conn_release(chat.conn);
  xmpp_ctx_free(chat.context);
  xmpp_shutdown();
  return 0;
}
