"""What the end-to-end tests and the demo (conf/up) are made of: real servers, the real balancer and
real clients on loopback. Debian's /usr/bin/python3 runs it, since slixmpp is Debian's.

  workspace   a folder for one test class or one demo: logs, data, certificates, processes
  prosody     real Prosody nodes                 ejabberd    a real ejabberd node
  balancer    mongooselb under test              access_log  its access log, read back
  slix, profanity, sendxmpp, xmppjs              real clients
  sink        a node of plain TCP                load        connections held and connections arriving
  tls         TLS clients of Python's ssl           bench      mongoosebench: load with figures
  mongooseim  a node of ours in its folder       lan         hosts of their own, and cuts between them
  memory_group  a cgroup with a memory limit
  status_api  a node's status API, well or ill   case        the TestCase that prints logs on failure
"""
