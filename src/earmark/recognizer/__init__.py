"""recognizer"""
