-- Fills a data folder (the first word) as Prosody's modules do, by Prosody's own libraries.
package.path = "/usr/lib/prosody/?.lua;" .. package.path
package.cpath = "/usr/lib/prosody/?.so;" .. package.cpath
local dm = require "util.datamanager"
local st = require "util.stanza"
dm.set_data_path(arg[1])
local host, user = "prosody.example", "romeo"
local request = st.presence({ from = "paris@prosody.example", type = "subscribe" })
	:tag("status"):text("let me in")
assert(dm.store(user, host, "roster", {
	[false] = {
		version = 7,
		pending = { ["paris@prosody.example"] = st.preserialize(request), ["old@prosody.example"] = true },
	},
	["juliet@prosody.example"] = {
		subscription = "both",
		name = 'Juliet "J" <3\nline',
		groups = { Friends = true, ["W\u{f6}rk"] = true },
	},
	["nurse@prosody.example"] = { subscription = "none", ask = "subscribe", groups = {} },
}))
local vcard = st.stanza("vCard", { xmlns = "vcard-temp" }):tag("FN"):text("Romeo & co"):up()
	:tag("PHOTO"):tag("BINVAL"):text("YWJj")
assert(dm.store(user, host, "vcard", st.preserialize(vcard)))
local bookmarks = st.stanza("storage", { xmlns = "storage:bookmarks" })
	:tag("conference", { jid = "room@rooms.example", autojoin = "true" })
assert(dm.store(user, host, "private", { ["storage:storage:bookmarks"] = st.preserialize(bookmarks) }))
assert(dm.store(user, host, "blocklist", { [false] = { created = 5 }, ["spam@evil.example"] = true }))
assert(dm.store(user, host, "archive_prefs",
	{ [false] = "roster", ["juliet@prosody.example"] = true, ["x@y"] = false }))
local function keep(store, key, when, with, attr, body)
	local s = st.preserialize(st.message(attr, body):tag("x", { xmlns = "urn:y" }):text("z"))
	s.key, s.when, s.with = key, when, with
	s.attr.stamp = "1970-01-01T00:00:00Z"
	assert(dm.list_append(user, host, store, s))
end
local juliet, romeo = "juliet@prosody.example", "romeo@prosody.example"
keep("offline", "o1", 1700000000.25, nil,
	{ from = juliet .. "/a", to = romeo, type = "chat", ["xml:lang"] = "en" }, "are you there?")
keep("archive", "k1", 1700000001, juliet,
	{ from = juliet .. "/a", to = romeo, type = "chat", id = "m1" }, "hi <b>\n]]>")
keep("archive", "k2", 1700000001, juliet,
	{ from = romeo .. "/b", to = juliet .. "/a", type = "chat", id = "m2" }, "hello")
