"""Analyses: a model and tokens in, small named results with units out. No plotly, no streamlit."""
