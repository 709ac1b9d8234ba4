"""tsung (Debian's) with its jabber plug-in: users who log in over STARTTLS, read their roster, come,
and write to each other."""

import os
import re
import subprocess

SCENARIO = """<?xml version="1.0"?>
<!DOCTYPE tsung SYSTEM "/usr/share/tsung/tsung-1.0.dtd">
<tsung loglevel="warning" version="1.0">
  <clients><client host="localhost" use_controller_vm="true"/></clients>
  <servers><server host="127.0.0.1" port="{port}" type="tcp"/></servers>
  <load>
    <arrivalphase phase="1" duration="{seconds}" unit="second">
      <users maxnumber="{users}" arrivalrate="{rate}" unit="second"/>
    </arrivalphase>
  </load>
  <options>
    <option type="ts_jabber" name="global_number" value="{users}"/>
    <option type="ts_jabber" name="userid_max" value="{users}"/>
    <option type="ts_jabber" name="domain" value="{domain}"/>
    <option type="ts_jabber" name="username" value="{prefix}"/>
    <option type="ts_jabber" name="passwd" value="{prefix}"/>
  </options>
  <sessions>
    <session bidi="true" probability="100" name="chat" type="ts_jabber">
      <request><jabber type="connect" ack="local"/></request>
      <request><jabber type="starttls" ack="bidi_ack"/></request>
      <request><jabber type="connect" ack="local"/></request>
      <transaction name="authenticate">
        <request><jabber type="auth_sasl" ack="local"/></request>
        <request><jabber type="connect" ack="local"/></request>
        <request><jabber type="auth_sasl_bind" ack="local"/></request>
        <request><jabber type="auth_sasl_session" ack="local"/></request>
      </transaction>
      <request><jabber type="presence:initial" ack="no_ack"/></request>
      <transaction name="roster">
        <request><jabber type="iq:roster:get" ack="local"/></request>
      </transaction>
      <thinktime value="1"/>
      <request><jabber type="chat" ack="no_ack" size="64" destination="online"/></request>
      <thinktime value="1"/>
      <request><jabber type="close" ack="local"/></request>
    </session>
  </sessions>
</tsung>
"""


def names(prefix, users):
    """Of its users, who have passwords made in the same way."""
    return [(f"{prefix}{i}", f"{prefix}{i}") for i in range(1, users + 1)]


def run(workspace, domain, port, users, prefix="tsung", rate=10):
    """What it counted: {name: total}; of transactions and pages how many there were."""
    folder = workspace.make_dir("tsung")
    path = workspace.write("tsung.xml", SCENARIO.format(
        port=port, domain=domain, users=users, rate=rate, seconds=users // rate + 8, prefix=prefix))
    done = subprocess.run(["tsung", "-f", path, "-l", folder, "-n", "start"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                          check=False, env={**os.environ, "HOME": folder})
    (run_folder,) = [entry.path for entry in os.scandir(folder) if entry.is_dir()
                     and os.path.exists(os.path.join(entry.path, "tsung.log"))] or [None]
    if run_folder is None:
        raise RuntimeError(f"tsung: {done.stdout}{done.stderr}")
    with open(os.path.join(run_folder, "tsung.log"), encoding="utf-8") as file:
        text = file.read()
    totals = {}
    for name, numbers in re.findall(r"^stats: (\S+) (.*)$", text, re.M):
        fields = numbers.split()
        # Counters have their sum last; what has times has the count last.
        totals[name] = float(fields[-1])
    return totals
