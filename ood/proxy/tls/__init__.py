"""TLS: from a connection on the HTTPS port to one that is read and written like any other.

=============== ==============================================================
``reception``   looks at the first bytes: TLS or not, which host, whose it is
``handshake``   one connection until its first request
``turns``       how much of each turn of the reactor handshakes may take
``contexts``    OpenSSL's settings, one context for each certificate
``socket``      a TLS connection with the methods of a socket
``outgoing``    TLS towards servers elsewhere, where ood is the client
``speakers``    who takes a connection for which protocol (ALPN)
=============== ==============================================================
"""
