"""Grade a class outside the students' processes.

intake   folders and zips → submissions        sandbox, cell, wire   a student's notebook, run where it can do no harm
notebook the cells to run, and the feedback    committed, steps     a module, or a step, as a list of operations
ledger   verdicts in one SQLite file           starting              what a network brings into its training
                                              judging               an order → a verdict
reports  gradebook, feedback, class report     verdict               what the two halves hand to each other
"""
