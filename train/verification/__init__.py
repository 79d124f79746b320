"""Does the word work now?"""
