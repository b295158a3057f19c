"""What web_fetch and web_search are made of. From a URL to its text:

    urls → addresses → connecting → exchange → charset → readable (and its child process, reader)

The rule of the folder: what is connected to is what was checked. A host is read once from the URL, resolved once per
connection, every address it has is checked, and the connection goes to one of those addresses, never to the name.
"""
