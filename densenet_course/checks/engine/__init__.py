"""How an answer is judged, whatever the exercise: questions with a time limit, findings, messages, the report."""
