"""A site's rules, compiled once per document and asked for each request.

``site`` puts them in their order; the other modules hold one subject each.
"""
