"""PaddleHub's serving: `POST /predict/NAME` with the arguments of `generate_image`, for its text-to-image modules."""
