"""RAW, a folder of audio files of any kind, to DATASET, an AudioFolder to train on."""
