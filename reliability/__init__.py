"""Whether anything is lost and anybody let in: faults, fuzzing, the API and a soak, each in a short and a long form."""
