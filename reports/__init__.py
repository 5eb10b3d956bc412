"""Facts to pictures: tables, metrics, figures and the report page. Never loads torch, faiss or simpy."""
