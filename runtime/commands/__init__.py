"""The groups of the `authpipe` command. Each asks the API's own routes, inside this process, and prints the answer."""
