"""Simultaneous astrometry and photometry of many images."""
