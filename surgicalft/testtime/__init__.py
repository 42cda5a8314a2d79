"""Adaptation to unlabelled images at test time."""
