"""`authpipe doctor`: looks at everything the server needs, names what is wrong, and says what to do about it.

It changes nothing: no file, table, search attribute or key is made by looking.
"""
