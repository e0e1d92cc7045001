"""How long and how much: every limit of the proxy's shells, with its reason."""

HEAD_DEADLINE_SECONDS = 10.0
"""A request's head must be complete by then, however busily it drips."""
HANDSHAKE_SECONDS = 10.0
"""A TLS handshake must be complete by then; slow mobile networks need two."""
KEEP_ALIVE_IDLE_SECONDS = 75.0
"""A client's connection waits this long for another request; browsers keep theirs about as long."""
BODY_IDLE_SECONDS = 60.0
"""A body may pause this long in either direction."""
RESPONSE_SECONDS = 60.0
"""An app must begin its answer by then."""
CONNECT_SECONDS = 3.0
"""An upstream that needs longer to accept is stuck, or far away and gone."""
UPSTREAM_HANDSHAKE_SECONDS = 5.0
"""A TLS handshake with an upstream must be complete by then: to the other side of the world it
takes one."""
UPSTREAM_IDLE_SECONDS = 4.0
"""An idle upstream connection is not used after that: Node closes its side at 5 s."""
UPSTREAM_IDLE_MARGIN_SECONDS = 1.0
"""We stop using an upstream connection this long before the upstream says it closes it."""
WAIT_SECONDS = 120.0
"""The pool bounds how long a request waits for a worker; this only catches what it forgot."""
WATCH_SECONDS = 1.0
"""An exchange that lasts longer is watched for its client going away; shorter ones need no watch,
and after the client's end of stream it gets this much time for the next step to its end."""
LINGER_SECONDS = 2.0
"""After a last answer, what the client still sends is read away this long: closing at once would
make the kernel send a reset, and the client could lose the answer."""
SETTLE_SECONDS = 2.0
"""At the end of the service those who have just come get this long to send a request: two round
trips for a handshake and one for a head, over any distance."""
SETTLE_LOOK_SECONDS = 0.05
"""Pause between two looks whether all of them have."""
DRAIN_SECONDS = 30.0
"""At the end of the service exchanges in flight get this long."""
ACCEPT_PAUSE_SECONDS = 0.5
"""Without descriptors left there is no sense in asking for the next connection at once."""
PORT_RETRY_SECONDS = 2.0
"""An app's own port that somebody else has is tried again so often: it costs one system call."""
DESCRIPTORS_KEPT_BACK = 64
"""Clients get no descriptor beyond this many before the limit of open files: with none left the
API could not take the command that stops the app which draws them, nor a worker be started."""
ACCEPT_WARNING_SECONDS = 60.0
"""While it can't accept connections, a listener says so this often, not at every pause."""
ACCEPT_BATCH = 16
"""Connections accepted in a row before others get their turn: answers that came meanwhile wait,
and with them clients and workers that had something to do."""
HALF_OPEN_PER_CLIENT_MAX = 256
"""Connections of one client address without a complete request: browsers open six."""
HALF_OPEN_MAX = 8192
"""The same for all clients together; beyond it the oldest one goes."""
DISPATCH_TRIES_MAX = 3
"""How often a request waits for a worker anew before it is answered with 503."""
REPEAT_PAUSE_SECONDS = 0.05
"""Pause before a request whose worker went away is repeated: a process that dies takes some
milliseconds for it, in which it still looks like one that takes connections."""
UPSTREAMS_PER_APP_MAX = 2048
"""Upstream connections to one app; each is a request that has not been answered yet."""
PROBE_SECONDS = 1.0
"""So often an upstream connection is opened though idle ones exist: a new worker is found by it."""
STRANGERS_PER_APP_MAX = 512
"""Connections on which one app's workers send back what is for others: an app can open as many
as it likes, and each costs the service a descriptor, of which all apps need some."""
HELD_PER_APP_MAX = 1024
"""Requests that wait for the end of an app's maintenance; each holds a client's connection."""
PASSWORD_THREADS = 1
"""Passwords checked at once: each takes a processor and 16 MiB, whoever guesses them."""
PASSWORDS_MAX = 64
"""Passwords that wait to be checked; one after the other that takes 3 s."""
PASSWORDS_PER_CLIENT_MAX = 8
"""The same of one client: a browser asks on six connections, and one client can't use up all."""
PASSWORD_SECONDS = 30.0
"""A check must have been made by then; only a machine that stands still takes that long."""
HELD_BYTES_MAX = 268_435_456
"""What all HTTP/2 connections together may have us keep: answers that wait for their clients, and
bodies that wait for their apps.  One connection can come to 18 MB, and clients open many."""
HELD_WARNING_SECONDS = 60.0
"""While that is reached, it is logged so often."""
GREETING_WARNING_SECONDS = 60.0
"""Peers that don't begin with the PROXY protocol are named in the log this often."""
