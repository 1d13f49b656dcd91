"""The Streamlit side of Lens: page frame, view state, cached calls. Nothing else under ``lens`` imports streamlit."""
