"""From a stream to detections: scoring, decisions, detecting, listening, and the `Recognizer` that `load` opens.

It may import `models` and `tfjs`. One method, `Recognizer.create_transfer`, creates a `Project`, as in speech-commands.
"""
