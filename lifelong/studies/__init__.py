"""Many runs, and questions about runs."""
