"""front_end"""
