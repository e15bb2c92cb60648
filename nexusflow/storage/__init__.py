"""Where files and large values are kept: the database, a folder or S3."""
