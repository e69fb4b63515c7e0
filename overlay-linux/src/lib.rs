//! Programs a Linux host: links, routes, neighbours, nf_tables and namespaces over netlink
