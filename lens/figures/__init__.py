"""Arrays and labels to figures. No result is computed here; no torch, no streamlit, no other part of lens."""
