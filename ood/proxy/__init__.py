"""The reverse proxy: listener, hand-off, and the strict proxied path.

A connection's way through the files, first to last:

=============== ==============================================================
``listener``    accepts, pauses when descriptors run out
``dispatch``    peeks, routes, decides: to a worker unread, or proxied
``greeting``    takes the PROXY protocol's header off a connection
``arrivals``    parks connections whose head is incomplete, or that came back
``client``      reads a client's requests one after another (proxied path)
``http1``       one request on such a connection: framing in both directions
``brief``       a request that is all its connection brings, in fewer steps
``begin``       asks the rules what is to be done, and starts it
``sites``       the sites' rules: kept, asked, and waited for
``waiting``     a request that waits for maintenance's end, or a password's check
``errorpages``  sites' own pages, from files
``downstream``  the contract between a request and what serves it
``exchange``    one request and its response, streamed both ways
``upstream``    connections to workers, kept alive and shared out
``tunnel``      a WebSocket after the upstream's 101
``sticky``      which worker a client stays with
``remotes``     apps whose servers are elsewhere; ``remoteapp`` is one of
                them, ``remote`` a server, ``checks`` and ``names`` ask for it
``edge``        the service: routes from the document, own ports, drain
``live``        every socket's deadline; what a stop waits for
``limits``      every limit with its reason
``context``     what all of these share
``core/``       the rules of HTTP/1.1 and routing as pure functions
=============== ==============================================================
"""
