// Takes the place of @azure/storage-blob in the bundle. The SDK loads it only inside uploadToBlob, which the agent never calls.
throw new Error('file upload is not part of this program')
