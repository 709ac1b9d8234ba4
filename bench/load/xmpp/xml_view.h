// Looks into an element that the splitter has cut out: its name, an attribute of its tag, the text
// of a child. Views into the element, nothing is unescaped; for what servers answer to a login and
// for marks that the generator has set itself. Pure.
#pragma once

#include <string>
#include <string_view>

namespace bench {

// "message" of <message …>, "features" of <stream:features>: without prefix.
std::string_view LocalName(std::string_view element);

// Of the outermost tag; empty when it has none such.
std::string_view Attribute(std::string_view element, std::string_view name);

// Between the first <child …> and the next tag; empty when there is none.
std::string_view ChildText(std::string_view element, std::string_view child);

// The element's own text.
std::string_view OwnText(std::string_view element);

// What a stanza of type error says: the condition, and behind ": " the text if there is one.
std::string ErrorReason(std::string_view element);

bool Contains(std::string_view element, std::string_view text);

// Whether <child> names `value` among its siblings, e.g. <mechanism>PLAIN</mechanism>.
bool HasChildWithText(std::string_view element, std::string_view child, std::string_view value);

std::string Escaped(std::string_view text);

}  // namespace bench
