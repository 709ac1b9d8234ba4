#include "tests/server/im/dialogue.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>

#include "server/xmpp/stanza.h"

namespace server {
namespace {

std::string Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t\n") - first + 1));
}

std::vector<std::string> Words(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::optional<std::string> Differ(const XmlElement& expected, const XmlElement& got) {
  const std::string name(expected.name());
  if (expected.name() != got.name() || expected.space() != got.space()) {
    return "<" + name + "> of " + std::string(expected.space()) + " is <" +
           std::string(got.name()) + "> of " + std::string(got.space());
  }
  std::map<std::string, std::string> attributes;
  for (const auto& [key, value] : got.Attributes()) attributes.emplace(key, value);
  for (const auto& [key, value] : expected.Attributes()) {
    const auto found = attributes.find(std::string(key));
    if (found == attributes.end()) return "<" + name + "> has no " + std::string(key);
    if (value != "*" && value != found->second) {
      return "<" + name + ">'s " + found->first + " is '" + found->second + "'";
    }
    attributes.erase(found);
  }
  attributes.erase("id");
  if (!attributes.empty()) return "<" + name + "> has " + attributes.begin()->first;
  const std::string text = Trim(expected.Text());
  if (text != "*" && text != Trim(got.Text())) return "<" + name + "> says '" + got.Text() + "'";
  XmlElement a = expected.FirstChild();
  XmlElement b = got.FirstChild();
  for (; a && b; a = a.Next(), b = b.Next()) {
    if (auto differ = Differ(a, b)) return differ;
  }
  if (a) return "<" + name + "> lacks <" + std::string(a.name()) + ">";
  if (b) return "<" + name + "> has <" + std::string(b.name()) + ">";
  return std::nullopt;
}

// One scene that is being played.
class Player {
 public:
  Player(const Scene& scene, DialogueStage& stage) : scene_(scene), stage_(stage) {}

  std::optional<std::string> Play() {
    for (const Scene::Step& step : scene_.steps) {
      std::optional<std::string> wrong;
      try {
        wrong = Do(step);
      } catch (const std::exception& error) {
        wrong = error.what();
      }
      if (wrong) {
        return "line " + std::to_string(step.line) + ": " + step.words + ": " + *wrong;
      }
    }
    return std::nullopt;
  }

 private:
  using Wrong = std::optional<std::string>;

  Wrong Do(const Scene::Step& step) {
    const std::vector<std::string> words = Words(step.words);
    const std::string& who = words.at(0);
    if (who == "accounts") {
      for (size_t i = 1; i < words.size(); ++i) stage_.Account(words[i]);
      return std::nullopt;
    }
    if (who == "friends") {
      stage_.Friends(words.at(1), words.at(2), words.at(3));
      return std::nullopt;
    }
    if (step.words.starts_with("the store is ")) {
      stage_.StoreIs(words.at(3));
      return std::nullopt;
    }
    if (step.words == "at home alone") return std::nullopt;
    if (step.words == "everyone forgets") {
      for (const std::string& client : clients_) Forget(client);
      return std::nullopt;
    }
    return DoClient(who, Trim(std::string_view(step.words).substr(who.size())), step.xml);
  }

  Wrong DoClient(const std::string& who, const std::string& verb,
                 const std::vector<std::string>& xml) {
    if (verb == "connects" || verb == "is online") {
      stage_.Connect(who);
      clients_.insert(who);
      if (verb == "is online") {
        stage_.Send(who, "<presence/>");
        for (const std::string& client : clients_) Forget(client);
      }
    } else if (verb == "sends") {
      for (const std::string& one : xml) stage_.Send(who, one);
    } else if (verb == "gets" || verb == "gets either order") {
      return Gets(who, xml, verb != "gets");
    } else if (verb == "gets nothing") {
      if (const auto next = stage_.Next(who)) return "it gets " + *next;
    } else if (verb == "forgets") {
      Forget(who);
    } else if (verb == "leaves") {
      stage_.Leave(who);
    } else if (verb == "is lost") {
      stage_.Lose(who);
    } else if (verb == "holds") {
      stage_.Hold(who);
    } else if (verb == "takes") {
      stage_.Take(who);
    } else {
      return DoChecked(who, verb);
    }
    return std::nullopt;
  }

  // Rooms of the domain's service (XEP-0045).
  void GoIn(const std::string& who, const std::string& room, const std::string& nick) {
    stage_.Send(who, "<presence to='" + room + "@rooms." + stage_.domain() + "/" + nick +
                         "'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
  }
  void Make(const std::string& who, const std::vector<std::string>& words) {
    GoIn(who, words.at(1), words.at(3));
    std::string form = "<x xmlns='jabber:x:data' type='submit'>";
    if (words.size() > 5) {
      form +=
          "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value>"
          "</field>";
    }
    for (size_t i = 5; i < words.size(); ++i) {
      const size_t at = words[i].find('=');
      form += "<field var='muc#roomconfig_" + words[i].substr(0, at) + "'><value>" +
              words[i].substr(at + 1) + "</value></field>";
    }
    stage_.Send(who, "<iq type='set' id='made' to='" + words.at(1) + "@rooms." + stage_.domain() +
                         "'><query xmlns='http://jabber.org/protocol/muc#owner'>" + form +
                         "</x></query></iq>");
    for (const std::string& client : clients_) Forget(client);
  }

  Wrong DoChecked(const std::string& who, const std::string& verb) {
    const std::vector<std::string> words = Words(verb);
    if (words.size() == 3 && words[0] == "has" && words[2] == "counted") {
      const uint32_t count = stage_.Count(who);
      if (std::to_string(count) != words[1]) return "counted are " + std::to_string(count);
      return std::nullopt;
    }
    if (words.size() == 5 && words[0] == "is" && words[1] == "in") {
      GoIn(who, words[2], words[4]);
      for (const std::string& client : clients_) Forget(client);
      return std::nullopt;
    }
    if (words.size() >= 4 && words[0] == "makes") {
      Make(who, words);
      return std::nullopt;
    }
    if (verb.starts_with("is closed with ")) {
      const std::string closed = stage_.Closed(who);
      if (closed.find(words.at(3)) == std::string::npos) return "it is '" + closed + "'";
      return std::nullopt;
    }
    return "no such verb";
  }

  Wrong Gets(const std::string& who, std::vector<std::string> expected, bool any_order) {
    if (expected.empty()) return "no template";
    while (!expected.empty()) {
      const auto next = stage_.Awaited(who);
      if (!next) return "it gets nothing where " + expected.front() + " was to come";
      if (!any_order) {
        if (auto mismatch = Mismatch(expected.front(), *next)) return *mismatch + " in " + *next;
        expected.erase(expected.begin());
        continue;
      }
      const auto fits = std::ranges::find_if(
          expected, [&](const std::string& one) { return !Mismatch(one, *next); });
      if (fits == expected.end()) return "nobody expects " + *next;
      expected.erase(fits);
    }
    return std::nullopt;
  }

  void Forget(const std::string& client) {
    while (stage_.Next(client)) {
    }
  }

  const Scene& scene_;
  DialogueStage& stage_;
  std::set<std::string> clients_;
};

}  // namespace

std::optional<std::string> Mismatch(const std::string& expected, const std::string& xml) {
  const auto a = ParseStanza(expected, kClientSpace);
  const auto b = ParseStanza(xml, kClientSpace);
  if (!a) return "the template is not well-formed";
  if (!b) return "what came is not well-formed";
  return Differ(a->root(), b->root());
}

namespace {

void PutIn(std::string& line, const std::map<std::string, std::string>& words) {
  for (size_t at = 0; (at = line.find('{', at)) != std::string::npos;) {
    const size_t end = line.find('}', at);
    const auto word =
        end == std::string::npos ? words.end() : words.find(line.substr(at + 1, end - at - 1));
    if (word == words.end()) {
      ++at;
      continue;
    }
    line.replace(at, end - at + 1, word->second);
  }
}

}  // namespace

std::vector<Scene> ReadScenes(const std::string& path) {
  std::ifstream in(path);
  std::map<std::string, std::string> words;
  if (!in) throw std::runtime_error("cannot read " + path);
  std::vector<Scene> scenes;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    PutIn(line, words);
    const std::string text = Trim(line);
    if (text.starts_with("let ")) {
      const size_t end = text.find(' ', 4);
      words[text.substr(4, end - 4)] = Trim(std::string_view(text).substr(end));
      continue;
    }
    if (text.empty() || text.starts_with('#')) continue;
    if (text.starts_with("== ")) {
      scenes.push_back({.title = text.substr(3), .line = number, .steps = {}});
      continue;
    }
    const std::string at = path + ":" + std::to_string(number);
    if (scenes.empty()) throw std::runtime_error(at + ": a scene begins with ==");
    auto& steps = scenes.back().steps;
    if (line.front() != ' ') {
      steps.push_back({.line = number, .words = text, .xml = {}});
      continue;
    }
    if (steps.empty()) throw std::runtime_error(at + ": XML without a step");
    // A line with "<" two blanks in begins another stanza; what is deeper goes on.
    if (line.starts_with("  <")) {
      steps.back().xml.push_back(text);
    } else {
      if (steps.back().xml.empty()) throw std::runtime_error(at + ": deeper than two blanks");
      steps.back().xml.back() += text;
    }
  }
  return scenes;
}

std::optional<std::string> Play(const Scene& scene, DialogueStage& stage) {
  return Player(scene, stage).Play();
}

}  // namespace server
