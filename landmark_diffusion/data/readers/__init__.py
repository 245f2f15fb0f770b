"""Images and DICOM to grey levels, and what their headers say."""
