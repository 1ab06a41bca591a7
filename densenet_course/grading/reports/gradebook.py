"""``gradebook.csv``: a row for each student, a column for each exercise."""

from densenet_course.grading.reports.words import table


def gradebook(room):
    """Write a ``Classroom`` as CSV text; where no grade may be given yet, its cell and the total stay empty."""
    columns = [exercise.id for exercise in room.exercises]
    rows = [["student", "name", *columns, "total", "of", "late", "adjusted", "status", "isolation"]]
    for student in room.students:
        points = [student.entries[name].points for name in columns]
        rows.append([student.person.id, student.person.name,
                     *("" if value is None else value for value in points),
                     "" if student.points is None else student.points, room.max_points,
                     "; ".join(f"{name}: {late}" for name, late in student.late),
                     "; ".join(f"{name}: {'none' if before is None else format(before, 'g')} → {now.points:g}"
                               + f" ({now.reason})" * bool(now.reason) for name, before, now in student.adjusted),
                     "; ".join(f"{name}: {status}" for status, name in student.remarks) or "graded",
                     "full" if room.isolated else "NOT ISOLATED"])
    return table(rows)
