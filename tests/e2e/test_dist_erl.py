"""Our nodes and stock erl: pings, names, cookies, calls, ticks, in both directions; with Debian 12's
erl (OTP 25), trixie's (27) and forky's (29)."""

import re
import signal
import unittest

from lib.case import EndToEndCase
from lib.dist_probe import Probe
from lib.erl import Epmd, Erl, RemoteShell, hold
from lib.wait import wait_until


class ErlCases:
    suite = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.epmd = Epmd(cls.workspace).start()
        cls.mim = Probe(cls.workspace, cls.epmd, "mim")
        cls.erl = Erl(cls.workspace, cls.epmd, "probe", suite=cls.suite)

    def eval(self, expression):
        return self.erl.eval(expression.replace("MIM", self.mim.node))

    def test_ping_both_ways(self):
        self.assertEqual(self.eval("net_adm:ping(MIM)"), "pong")
        self.assertEqual(self.mim.ping(self.erl.node), "pong")
        self.eval("erlang:disconnect_node(MIM)")
        self.mim.expect(f"down {self.erl.node}")
        self.assertEqual(self.mim.ping(self.erl.node), "pong", "this time we dial")
        self.assertIn(self.erl.node, self.mim.links())

    def test_a_node_that_is_not_there_is_pang(self):
        self.assertEqual(self.mim.ping("nobody@localhost"), "pang")
        self.assertIn("knows no node nobody", self.mim.connect("nobody@localhost"))
        self.assertIn("no IPv4 address", self.mim.connect("nobody@no-such-host.invalid"))
        self.assertIn("no name of a node", self.mim.connect("nobody"))

    def test_epmd_lists_our_name(self):
        self.assertEqual(self.epmd.names()["mim"], self.mim.port)
        self.assertIn(f'{{"mim",{self.mim.port}}}', self.eval("net_adm:names(localhost)"))

    def test_we_are_hidden(self):
        self.assertEqual(self.eval("net_adm:ping(MIM)"), "pong")
        self.assertEqual(self.eval("nodes()"), "[]")
        self.assertEqual(self.eval("nodes(hidden)"), "[mim@localhost]")
        self.assertEqual(self.eval("global:sync()"), "ok")

    def test_another_cookie_is_pang_and_a_line_in_the_log(self):
        self.eval("erlang:set_cookie(MIM, other)")
        try:
            self.eval("erlang:disconnect_node(MIM)")
            self.mim.mark()
            self.assertEqual(self.eval("net_adm:ping(MIM)"), "pang")
            line = wait_until(lambda: [at for at in self.mim.heard() if "rejected" in at],
                              "the attempt in the log")[0]
            self.assertIn(f"Connection attempt from node {self.erl.node} rejected", line)
            self.assertRegex(line, r"address=127\.0\.0\.1:\d+")
            self.assertIn("wrong cookie", line)
            self.assertEqual(self.mim.ping(self.erl.node), "pang")
            self.assertIn("cookies differ", self.mim.connect(self.erl.node))
        finally:
            self.eval("erlang:set_cookie(MIM, 'C')")
        self.assertEqual(self.eval("net_adm:ping(MIM)"), "pong")
        self.assertNotIn("other", self.mim.process.log().replace("another", ""))

    def test_rpc_and_its_errors(self):
        self.assertEqual(self.eval("rpc:call(MIM, mnesia, system_info, [running_db_nodes])"),
                         "[mim@localhost]")
        self.assertEqual(self.eval("rpc:call(MIM, erlang, node, [])"), "mim@localhost")
        self.assertEqual(self.eval("rpc:block_call(MIM, erlang, node, [])"), "mim@localhost")
        self.assertIn("probe@localhost", self.eval("rpc:call(MIM, erlang, nodes, [hidden])")
                      + self.eval("rpc:call(MIM, erlang, nodes, [])"))
        self.assertEqual(self.eval("rpc:call(MIM, net_adm, ping, [node()])"), "pong")
        self.assertEqual(self.eval("rpc:call(MIM, lists, reverse, [[1]])"),
                         "{badrpc,{'EXIT',{undef,[{lists,reverse,[[1]],[]}]}}}")
        self.assertIn("{badrpc,{'EXIT',{as_told,", self.eval("rpc:call(MIM, probe, fail, [])"))
        self.assertIn("no_answer", self.eval("rpc:call(MIM, probe, forget, [])"))

    def test_terms_come_back_as_they_went(self):
        for term in ("[1, -1, 300, 1 bsl 40, 1 bsl 200]", '[a, "text", <<1,2>>, <<5:3>>, 1.5]',
                     "[#{a => [x|y]}, {}, self(), make_ref(), fun erlang:node/0]",
                     "[list_to_atom([16#e5, 16#4e2d]), lists:seq(1, 1000)]"):
            self.assertEqual(
                self.eval(f"begin T = {term}, T =:= rpc:call(MIM, probe, echo, T) end"), "true")

    def test_erpc_and_multicall(self):
        self.assertEqual(self.eval("erpc:call(MIM, erlang, node, [])"), "mim@localhost")
        self.assertEqual(self.eval("erpc:call(MIM, erlang, node, [], 2000)"), "mim@localhost")
        self.assertIn("{exception,undef,[{a,b,[],[]}]}", self.eval("erpc:call(MIM, a, b, [])"))
        self.assertEqual(self.eval("erpc:multicall([node(), MIM], erlang, node, [])"),
                         "[{ok,probe@localhost},{ok,mim@localhost}]")
        self.assertEqual(self.eval("rpc:multicall([node(), MIM], erlang, node, [])"),
                         "{[probe@localhost,mim@localhost],[]}")
        self.assertEqual(self.eval("erpc:cast(MIM, erlang, node, [])"), "ok")
        self.assertEqual(
            self.eval("erpc:receive_response(erpc:send_request(MIM, erlang, node, []))"),
            "mim@localhost")

    def test_messages_reach_a_mailbox(self):
        self.mim.mark()
        self.eval("{probe, MIM} ! {hello, [1, 2]}")
        self.assertEqual(self.mim.expect("term "), "term probe@localhost {hello,[1,2]}")
        self.eval("{nobody, MIM} ! {hello, 1}")
        self.eval("{probe, MIM} ! second")
        self.assertEqual(self.mim.expect("term "), "term probe@localhost second")

    def test_monitors_links_and_spawns_are_answered(self):
        self.assertEqual(
            self.eval("begin R = erlang:monitor(process, {global_name_server, MIM}),"
                      " receive {'DOWN', R, _, _, W} -> W after 5000 -> silence end end"), "noproc")
        self.assertEqual(
            self.eval("begin R = erlang:monitor(process, {net_kernel, MIM}), receive"
                      " {'DOWN', R, _, _, W} -> W after 300 -> erlang:demonitor(R), alive end end"),
            "alive")
        self.assertIn("notsup", self.eval(
            "begin Q = spawn_request(MIM, shell, start, []), receive"
            " {spawn_reply, Q, error, W} -> W after 5000 -> silence end end"))

    def test_our_calls_are_answered_by_erl(self):
        self.assertEqual(self.mim.call(self.erl.node, "erlang", "node"), "probe@localhost")
        self.assertEqual(self.mim.call(self.erl.node, "no", "such"), "error undef")
        self.assertEqual(self.mim.call("nobody@localhost", "erlang", "node"), "error nodedown")

    def test_both_dial_at_once(self):
        for _ in range(20):
            self.eval("erlang:disconnect_node(MIM)")
            wait_until(lambda: self.erl.node not in self.mim.links(), "the link is gone")
            self.erl.mark()
            self.mim.mark()
            self.mim.tell(f"connect {self.erl.node}")
            self.assertEqual(self.eval("net_adm:ping(MIM)"), "pong")
            self.assertEqual(self.mim.expect("connected "), "connected ok")
            self.assertEqual(self.mim.links().count(self.erl.node), 1)

    def test_without_a_name_erl_is_given_one(self):
        guest = Erl(self.workspace, self.epmd, "guest", suite=self.suite, named=False)
        self.mim.mark()
        self.assertEqual(guest.eval(f"net_kernel:connect_node({self.mim.node})"), "true")
        line = self.mim.expect("up ")
        self.assertRegex(line, r"^up [0-9A-Z]+@\S+ foreign$")
        self.assertEqual(guest.eval("node()"), "'" + line.split()[1] + "'")
        self.assertEqual(guest.eval(f"rpc:call({self.mim.node}, erlang, node, [])"), self.mim.node)
        guest.process.kill()
        self.mim.expect("down " + line.split()[1])

    def test_who_wants_a_remote_shell_is_told_that_there_is_none(self):
        shell = RemoteShell(self.epmd, self.mim.node, self.suite)
        self.addCleanup(shell.close)
        shell.expect("is no Erlang node and has no shell")

    def test_a_killed_erl_is_down_at_once_and_may_come_again(self):
        other = Erl(self.workspace, self.epmd, "mortal", suite=self.suite)
        self.assertEqual(other.eval(f"net_adm:ping({self.mim.node})"), "pong")
        self.mim.mark()
        other.process.kill()
        self.mim.expect("down mortal@localhost", 2)
        again = Erl(self.workspace, self.epmd, "mortal", suite=self.suite)
        self.assertEqual(again.eval(f"net_adm:ping({self.mim.node})"), "pong")
        again.process.kill()

    def test_ticks_hold_a_silent_link_and_end_a_dead_one(self):
        mim = Probe(self.workspace, self.epmd, "ticker", ticktime=8)
        erl = Erl(self.workspace, self.epmd, "ticked", suite=self.suite,
                  flags=["-kernel", "net_ticktime", "8"])
        self.assertEqual(erl.eval(f"net_adm:ping({mim.node})"), "pong")
        mim.mark()
        self.assertTrue(hold(lambda: not any(at.startswith("down") for at in mim.heard()), 61),
                        "a minute without a word but ticks")
        self.assertEqual(erl.eval("nodes(hidden)"), f"[{mim.node}]")
        erl.process.signal(signal.SIGSTOP)
        self.assertIn("net_tick_timeout", mim.expect(f"down {erl.node}", 14))
        erl.process.signal(signal.SIGCONT)


class DistErl25(ErlCases, EndToEndCase):
    pass


class DistErl27(ErlCases, EndToEndCase):
    suite = "trixie"


class DistErl29(ErlCases, EndToEndCase):
    suite = "forky"


class TheOtpOfEachSuite(EndToEndCase):
    def test_is_what_the_names_say(self):
        epmd = Epmd(self.workspace).start()
        for suite, release in ((None, 25), ("trixie", 27), ("forky", 29)):
            erl = Erl(self.workspace, epmd, f"otp{release}", suite=suite)
            found = re.sub(r'"', "", erl.eval("erlang:system_info(otp_release)"))
            self.assertGreaterEqual(int(found), release, suite)


if __name__ == "__main__":
    unittest.main()
