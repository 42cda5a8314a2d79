"""What came out: tables and figures, with the published numbers beside ours."""
