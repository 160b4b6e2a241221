"""tfjs"""
