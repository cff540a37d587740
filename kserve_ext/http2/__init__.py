"""HTTP/2 as far as gRPC needs it: frames and header blocks for both sides, and the server's side of a connection."""
