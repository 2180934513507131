"""What is measured, one idea a file; each is a function from a site to rows."""
